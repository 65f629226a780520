def handler(event:, context:) = event
