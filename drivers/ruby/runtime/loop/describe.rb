# frozen_string_literal: true

# What the runtime does with what is the user's: objects that may answer nothing, or something else, and parts of the language that somebody has replaced.
module Pipsqueak
  CODE = "/function"

  # Ruby's own JSON, which nobody else sees: libraries ask whether json is loaded, and it is when the function or one of its gems has required it.
  module JSON
    seen = -> { [Object.constants, Kernel.private_instance_methods(false), Class.instance_methods(false), $LOADED_FEATURES.dup] }
    before = seen.call
    require "json/ext/parser" # not "json", which adds methods to all objects
    require "json/ext/generator"
    constants, functions, methods, files = seen.call.zip(before).map { |now, known| now - known }
    OWN = constants.to_h { |name| [name, Object.send(:remove_const, name)] }.fetch(:JSON)
    Kernel.send(:remove_method, *functions)
    Class.send(:remove_method, *methods)
    $LOADED_FEATURES.reject! { |file| files.include?(file) && !file.include?("/enc/") }

    DEPTH = 512 # as core has it; each level is a level of the C stack
    TOO_DEEP = "JSON::NestingError"
    STATE = OWN::Ext::Generator::State

    def self.generate(object) = STATE.new(max_nesting: DEPTH).generate(object)

    # Writes what is the function's as its own JSON does, if it has required one: objects may look whether they are written by that.
    def self.encode(object)
      state = ::JSON::State if defined?(::JSON::State)
      state = STATE unless Class === state && state.method_defined?(:generate)
      state.new(max_nesting: DEPTH).generate(object)
    end

    if OWN::Ext.const_defined?(:ParserConfig) # since json 2.10
      PARSER = OWN::Ext::ParserConfig.new(max_nesting: DEPTH)
      def self.parse(text) = PARSER.parse(text)
    else
      PARSER = OWN::Ext::Parser
      def self.parse(text) = PARSER.new(text, max_nesting: DEPTH).parse
    end
  end

  # AWS Lambda's runtime has loaded json, and functions use it without requiring it.
  module Lent
    def const_missing(name)
      return super unless name == :JSON && caller_locations(1, 1).first.path.start_with?("#{CODE}/")
      require "json"
      ::JSON
    end
  end
  Module.prepend(Lent)

  # A function that a handler has invoked failed. Function is its name; kind and fault are core's words; raised is what its handler raised, if it
  # did: a Hash with "type", "message", "stack" and perhaps "causes".
  class InvokeError < StandardError
    attr_reader :function, :kind, :fault, :retryable, :raised

    def initialize(function, error)
      super(error["message"])
      @function = function
      @kind, @fault, @raised = error.values_at("kind", "fault", "exception")
      @retryable = error["retryable"] ? true : false
      @told = JSON.generate(@raised).freeze
    end
  end

  # An error to report: kind and fault as core has them, and the exception behind it.
  class Failure < StandardError
    attr_reader :reply

    def initialize(kind, fault, message, cause = nil)
      super(message)
      @reply = { "kind" => kind, "fault" => fault, "message" => message }
      @reply["exception"] = Pipsqueak.describe(cause) if cause
    end
  end

  # Files whose frames a user need not see.
  RUNTIME_FILES = ["#{__dir__}/", "<internal:"].freeze
  MAX_MESSAGE = 64 << 10
  MAX_STACK = 200 << 10
  # How many frames of a longer stack are reported: those at its ends.
  OUTER = 20
  INNER = 40
  # How many exceptions behind one are reported, and bytes of their texts and stacks.
  MAX_BEHIND = 16
  MAX_MESSAGE_BEHIND = 8 << 10
  MAX_STACK_BEHIND = 16 << 10

  # An object of the user's may answer nothing, or something else: what Ruby itself knows of it is asked of Ruby.
  CLASS = Kernel.instance_method(:class)
  METHOD = Kernel.instance_method(:method)
  NAME = Module.instance_method(:name)
  INSPECT = Module.instance_method(:inspect)
  BACKTRACE = Exception.instance_method(:backtrace)
  CAUSE = Exception.instance_method(:cause)
  VARIABLE = Kernel.instance_method(:instance_variable_get)

  class << self
    # The report of an exception to a user: its type, text, stack without the frames of this runtime, outermost first, notes, and the exceptions behind it.
    def describe(error)
      told = outline(error, MAX_MESSAGE, MAX_STACK)
      add_invoked(told, error)
      seen = {}.compare_by_identity
      seen[error] = true
      above = told
      while (error = CAUSE.bind_call(error))
        left = seen[error] ? "(cause: #{type_of(error)}, which was reported already)" : "(there are more exceptions behind it)" if seen[error] || seen.size > MAX_BEHIND
        break (above["notes"] ||= []) << left if left
        seen[error] = true
        (above["causes"] ||= []) << (above = outline(error, MAX_MESSAGE_BEHIND, MAX_STACK_BEHIND).merge!("relation" => "cause"))
        add_invoked(above, error)
      end
      told
    end

    # The name of an object's class, whatever the object says.
    def type_of(object)
      type = CLASS.bind_call(object)
      clean(NAME.bind_call(type) || INSPECT.bind_call(type))
    end

    def message_of(error)
      clean(error.message.to_s)
    rescue Exception
      "(its text cannot be had: its message raises)"
    end

    # A text as JSON can hold it, of a length that can be told.
    def clean(text, limit = MAX_MESSAGE)
      text = String.new(text)
      text.force_encoding(Encoding::UTF_8) if [Encoding::BINARY, Encoding::US_ASCII].include?(text.encoding)
      text = text.encode(Encoding::UTF_8, invalid: :replace, undef: :replace, replace: "\u{fffd}") unless text.encoding == Encoding::UTF_8
      text = text.byteslice(0, limit) if text.bytesize > limit
      text.valid_encoding? ? text : text.scrub("\u{fffd}")
    end

    # A message as JSON, of at most that many bytes: a longer one is an error, and cut.
    def packed(message, limit)
      packet = JSON.generate(message)
      return packet if packet.bytesize <= limit
      error = message["error"] || message
      shorten(error)
      shorten(error["exception"]) if error["exception"]
      JSON.generate(message)
    end

    private

    def outline(error, most, room)
      frames = ends(backtrace_of(error).reject { |frame| frame.start_with?(*RUNTIME_FILES) })
      frames = frames.map { |frame| clean(frame) }.take_while { |frame| (room -= frame.bytesize) >= 0 }
      message = message_of(error)
      told = { "type" => type_of(error), "message" => clean(message, most), "stack" => frames.reverse }
      note = note_of(error, message)
      told["notes"] = [note] if note
      told
    end

    # The ends of a stack, the innermost frame first: a recursion has the same ones many times.
    def ends(frames)
      left = frames.size - OUTER - INNER
      left > 1 ? [*frames.first(INNER), "… (#{left} frames left out)", *frames.last(OUTER)] : frames
    end

    # Adds to the report of an error what a function that was invoked has raised, as core has reported and cut it.
    def add_invoked(told, error)
      return unless InvokeError === error
      raised = JSON.parse(VARIABLE.bind_call(error, :@told))
      (told["causes"] ||= []) << raised.merge("relation" => "cause") if raised
    rescue StandardError
      nil # it is in the hands of the handler
    end

    # What detailed_message says besides the message and the class (Ruby 3.2 and later).
    def note_of(error, message)
      detailed = clean(METHOD.bind_call(error, :detailed_message).call(highlight: false), MAX_MESSAGE_BEHIND)
      first, rest = message.split("\n", 2)
      detailed unless detailed.empty? || [message, "#{first} (#{type_of(error)})#{"\n#{rest}" if rest}", type_of(error)].include?(detailed)
    rescue Exception
      nil
    end

    # Its own backtrace, or, when that is none, Ruby's.
    def backtrace_of(error)
      frames = begin
        error.backtrace
      rescue Exception
        nil
      end
      frames = BACKTRACE.bind_call(error) unless Array === frames && frames.all?(String)
      frames || []
    end

    def shorten_cause(cause)
      cause.update("message" => clean(cause["message"], 1000), "stack" => [])
      cause.delete("notes")
      cause["causes"]&.each { |one| shorten_cause(one) }
    end

    # Cuts an error that is too long for a packet: its texts to their beginning, its stack to the innermost frames.
    def shorten(error)
      error.each do |key, value|
        case value
        when String then error[key] = clean(value, 10_000)
        when Array then error[key] = key == "causes" ? value.each { |cause| shorten_cause(cause) } : value.last(20).map { |line| clean(line, 1000) }
        end
      end
    end
  end
end
