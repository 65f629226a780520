def handler(event:, context:)
  { hello: event["name"] }
end
