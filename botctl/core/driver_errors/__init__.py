"""What an error of a driver means: it may pass (exit code 7), a setting is wrong (78), or data are damaged (4).

An exception of redis-py or pymongo comes in, one of `core.errors` goes out. Read `mongo` first.
"""
