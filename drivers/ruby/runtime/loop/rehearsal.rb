# frozen_string_literal: true

# The handler of a rehearsal (rehearse.rb).
def pipsqueak_rehearse(event:, context:)
  { "event" => event, "left" => context.get_remaining_time_in_millis }
end
