"""What the launcher of the Dataflow template starts: it only hands the parameters to scoreline."""

from scoreline.pipelines.template_program import program

if __name__ == "__main__":
    program()
