"""The handler of a rehearsal (zygote.rehearse)."""


def handler(event, context):
    return event
