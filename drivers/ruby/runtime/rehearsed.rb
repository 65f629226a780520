# frozen_string_literal: true

# The handler of a rehearsal (rehearsal.rb).
def pipsqueak_rehearsed(event:, context:)
  { "event" => event, "left" => context.get_remaining_time_in_millis }
end
