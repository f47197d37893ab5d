"""Gives feedback with Portkey's own Python client.

Usage: driver.py sync|async BASE_URL KEY WRONG_KEY
"""

from portkey_ai import AsyncPortkey, Portkey
from script import call, run


async def main(kind, base_url, key, wrong_key):
    client_type = {"sync": Portkey, "async": AsyncPortkey}[kind]
    feedback = client_type(api_key=key, base_url=base_url).feedback
    await call(
        "create",
        feedback.create,
        trace_id="trace-1",
        value=5,
        weight=0.5,
        metadata={"_user": "ada", "_prompt": "p-1", "text": "très bien", "nested": {"k": [1, None]}},
    )
    await call(
        "bulk",
        feedback.bulk_create,
        feedbacks=[
            {"trace_id": "trace-1", "value": 1},
            {"trace_id": "trace-2", "value": -10, "weight": 0.25, "metadata": {"env": "prod"}},
        ],
    )
    changed = await call("changed", feedback.create, trace_id="trace-3", value=4, weight=0.5)
    await call(
        "update",
        feedback.update,
        feedback_id=changed.feedback_ids[0],
        value=-3,
        metadata={"_user": "bob"},
    )
    await call("bad_value", feedback.create, trace_id="trace-1", value=11)
    await call("no_trace", feedback.create, value=1)
    # Nothing of it is kept, also not the good one.
    await call(
        "bad_bulk",
        feedback.bulk_create,
        feedbacks=[{"trace_id": "trace-1", "value": 2}, {"trace_id": "trace-1", "value": 5.5}],
    )
    await call("lost_id", feedback.update, value=1)
    stranger = client_type(api_key=wrong_key, base_url=base_url).feedback
    await call("wrong_key", stranger.create, trace_id="trace-1", value=1)


run(main)
