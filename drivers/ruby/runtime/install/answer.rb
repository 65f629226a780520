# frozen_string_literal: true

require "json"

module Pipsqueak
  # What the user is told: kind and fault as core has them.
  class Refused < StandardError
    attr_reader :reply

    def initialize(kind, fault, message)
      super(message)
      @reply = { "kind" => kind, "fault" => fault, "message" => message.scrub("?")[0, 8000] }
    end
  end

  # Answer is how a program of the driver's answers it: JSON messages over descriptor 3.
  module Answer
    MAX_PACKET = 100 << 10

    private

    # Sends the message, in several packets when it is long: each but the last begins with '+'.
    def say(message)
      @control ||= IO.for_fd(3, "w", autoclose: false)
      text = JSON.generate(message).b
      @control.syswrite("+".b + text.slice!(0, MAX_PACKET)) while text.bytesize > MAX_PACKET
      @control.syswrite(".".b + text)
    end
  end
end
