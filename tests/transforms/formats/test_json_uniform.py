import json

import pyarrow as pa

from scoreline.transforms.formats.json_template import learn_template
from scoreline.transforms.formats.json_uniform import UniformParser
from scoreline.transforms.formats.lines import split_lines


def test_the_fast_way_takes_plain_lines():
    variants = [b'{"a":%d,"s":"x%d","x":null}' % (i, i) for i in range(50)]
    variants += [b'{"a": %d, "s": null, "x": -%d.5e-3}' % (i, i) for i in range(50)]
    variants += [b'{"a":1,"s":"t\\u00e9\\n","x":0.1}'] * 20
    variants += [b'{"a":2,"s":"\\"\\\\\\"%b","x":0.1}' % end for end in (b"", b"\\\\", b"s")] * 10
    lines = split_lines(b"\n".join(variants))
    schema = pa.schema(
        {"a": pa.int64(), "s": pa.string(), "x": pa.float64(), "absent": pa.string()}
    )
    found = UniformParser(schema).parse(lines)
    assert sum(uniform.batch.num_rows for uniform in found) == 150
    rows = {
        i: row
        for u in found
        for i, row in zip(u.indices.tolist(), u.batch.to_pylist(), strict=True)
    }
    for index, row in rows.items():
        assert row == {"absent": None} | json.loads(lines[index])


def test_the_fast_way_gives_up_on_lines_without_a_common_shape():
    parser = UniformParser(pa.schema({"a": pa.int64()}))
    keys = [b'{"k%d":1}' % i for i in range(5000)]
    assert sum(len(u.indices) for u in parser.parse(split_lines(b"\n".join(keys)))) <= 4
    assert parser.parse(split_lines(b'{"a":1}\n' * 100)) == []


def test_templates():
    template = learn_template(b' {"a" : 1 ,\t"b":"x\\n" , "c":null}\t')
    assert template.literals == (b' {"a" : ', b' ,\t"b":"', b'" , "c":', b"}\t")
    assert (template.examples, template.quoted) == ((b"1", b"x\\n", b"null"), (False, True, False))
    for line in (
        b"{}",
        b'{"a":1',
        b'{"a":[]}',
        b'{"a":1,"a":2}',
        b'{"a":01}',
        b"[1]",
    ):
        assert learn_template(line) is None
