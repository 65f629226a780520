"""Returns the event as it came."""


def handler(event, context):
    return event
