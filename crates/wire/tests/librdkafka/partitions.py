"""Prints the partitions that a real librdkafka gives to keys, for `partitions.txt` beside this file:

    python3 -m venv v && v/bin/pip install confluent-kafka==2.16.1
    v/bin/python crates/wire/tests/librdkafka/partitions.py > crates/wire/tests/librdkafka/partitions.txt

The wheel brings librdkafka as a library of its own, and its partitioners are part of the public C interface; they look at
nothing but the key and the count. Each line is: partitioner, key in hex (`null` for none, `-` for an empty one), number of
partitions, partition.
"""

import ctypes
import glob
import os
import random

import confluent_kafka

FOLDER = os.path.join(os.path.dirname(confluent_kafka.__file__), "..", "confluent_kafka.libs")
LIBRARY = ctypes.CDLL(glob.glob(os.path.join(FOLDER, "librdkafka-*.so*"))[0])
PARTITIONERS = ["consistent", "murmur2", "fnv1a"]
COUNTS = [1, 2, 3, 12, 1000, 2**31 - 1]


def partition(name, key, count):
    call = getattr(LIBRARY, "rd_kafka_msg_partitioner_" + name)
    call.restype = ctypes.c_int32
    call.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p]
    return call(None, key, len(key or b""), count, None, None)


def keys():
    chance = random.Random(4711)
    yield None
    yield from [b"", b"a", b"foobar", b"table 7", "käse".encode(), bytes(range(256))]
    for length in range(1, 65):
        yield bytes(chance.randrange(256) for _ in range(length))


print("# librdkafka " + confluent_kafka.libversion()[0] + ", by partitions.py")
for key in keys():
    told = "null" if key is None else key.hex() or "-"
    for name in PARTITIONERS:
        for count in COUNTS:
            print(name, told, count, partition(name, key, count))
