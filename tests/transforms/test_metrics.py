import threading

from scoreline.transforms.metrics import RowCounter, rows_so_far


def test_rows_of_all_threads_are_counted_by_outcome():
    before = {name: rows_so_far(name) for name in ("read", "predicted", "dead_lettered")}
    counter = RowCounter("read")
    threads = [threading.Thread(target=counter.add, args=(10,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    RowCounter("predicted").add(3)
    assert rows_so_far("read") == before["read"] + 40
    assert rows_so_far("predicted") == before["predicted"] + 3
    assert rows_so_far("dead_lettered") == before["dead_lettered"]
