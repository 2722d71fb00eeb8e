"""The door to the models: Flask under gunicorn with one gevent worker.

The way of a call: `app` reads it → `chat` or `plain` puts the body into one shape → `router.decide` names candidates →
`calls` finds one that answers (the only retry loop) → `stream` or `plain` shapes the answer → `relay` sends it and
watches the client. `surroundings` holds what files say now: rules, keys, models, engines. `serve` puts it together.
"""
