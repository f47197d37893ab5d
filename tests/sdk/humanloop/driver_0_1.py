"""Gives feedback with Humanloop's own Python client of version 0.1, which has other names
for what is said.

Usage: driver_0_1.py BASE_URL KEY WRONG_KEY
"""

import humanloop
from script import call, run


async def main(base_url, key, wrong_key):
    humanloop.init(api_key=key, base_url=base_url)
    on = {"log_id": "data_1", "source": "ada"}
    await call("label", humanloop.feedback, group="rating", label="good", **on)
    await call("label_again", humanloop.feedback, group="rating", label="bad", **on)
    await call("text", humanloop.feedback, group="correction", text="très bien", **on)
    await call(
        "several",
        humanloop.feedback,
        [
            humanloop.Feedback(group="action", label="copy", log_id="data_2"),
            humanloop.Feedback(group="comment", text="hasty", log_id="data_2"),
        ],
    )
    humanloop.init(api_key=wrong_key, base_url=base_url)
    await call("wrong_key", humanloop.feedback, group="rating", label="good", **on)


run(main)
