# frozen_string_literal: true

require_relative "calls"
require_relative "rehearse"

module Pipsqueak
  # The context of an event, with the names that AWS Lambda uses.
  class Context
    attr_reader :aws_request_id, :function_name, :function_version, :memory_limit_in_mb, :invoked_function_arn,
                :log_group_name, :log_stream_name, :identity, :client_context, :deadline_ms

    def initialize(function, meta, calls)
      @aws_request_id = @log_stream_name = meta["id"]
      @function_name = @log_group_name = function["function"]
      @function_version = function["version"].to_s
      @memory_limit_in_mb = function["memory"] >> 20
      @invoked_function_arn = "pipsqueak:function:#{@function_name}"
      @deadline_ms = meta["deadline_ms"]
      @token = meta["token"]
      @streams = meta["stream"] == true
      @calls = calls
    end

    def get_remaining_time_in_millis
      [@deadline_ms - Process.clock_gettime(Process::CLOCK_REALTIME, :millisecond), 0].max
    end

    # What a person wants to see of it in a log.
    def inspect
      "#<#{self.class} #{(instance_variables - HIDDEN).map { |name| "#{name}=#{instance_variable_get(name).inspect}" }.join(", ")}>"
    end

    HIDDEN = %i[@token @streams @calls].freeze
    private_constant :HIDDEN

    # Runs another function and returns its result. Raises Pipsqueak::InvokeError when it fails.
    def invoke(name, event = nil)
      @calls.invoke(@token, name, event)
    end

    # Whether the response may be passed on in parts, and to pass on one; for this runtime.
    def streams? = @streams
    def pass(head, bytes) = @calls.pass(@token, head, bytes)
  end

  # TooLarge is raised in a handler whose response is taken as a whole, and has become too large.
  class TooLarge < StandardError; end

  # Instance imports one handler and answers events on its endpoint, one at a time (several.rb has what differs when there are several at once).
  class Instance
    ENDPOINT = 4
    MAX_RESULT = 6 << 20
    MAX_FAILURE = 128 << 10
    OUTPUTS = [STDOUT, STDERR].freeze

    def self.endpoint
      IO.for_fd(ENDPOINT, "r+b", autoclose: false).tap { |io| io.close_on_exec = true }
    end

    class << self
      attr_accessor :serving # the instance that this process is
    end

    # Tells what ends the process in the middle of an event. It runs behind everything else that is to run then.
    at_exit { serving&.tell_death($!) }

    def initialize(loader, input = Instance.endpoint, output = input)
      @loader = loader
      @pid = Process.pid
      @input = input
      @output = output
      @calls = Calls.new(input, output)
    end

    # Imports the handler that core names, and answers events until core closes the endpoint.
    def run
      Instance.serving = self
      Rehearsal.new(@loader).run if PipsqueakZygote.may_rehearse
      serve
      Process.exit!(0)
    end

    # Answers what core asks, first of all the import.
    def serve
      frame = @calls.receive("H") or return
      answer("P", begin
        JSON.generate(import(JSON.parse(frame.byteslice(5, frame.bytesize))))
      rescue StandardError => e
        e = Failure.new("internal", "driver", "the Ruby runtime failed while it imported the handler: #{defect(e)}", e) unless Failure === e
        answer("F", Pipsqueak.packed(e.reply, MAX_FAILURE))
        Process.exit!(1)
      end)
      if several?
        require_relative "several"
        return serve_several(@function["concurrency"])
      end
      while (frame = @calls.receive("E"))
        event = 9 + frame.unpack1("N", offset: 5)
        meta = JSON.parse(frame.byteslice(9, event - 9))
        @token = meta["token"]
        answer(*handle(meta, frame.byteslice(event, frame.bytesize)), @token)
        @token = nil
      end
    end

    # Whether there may be several events at once.
    def several? = @function&.fetch("concurrency", 1).to_i > 1

    # Tells by what the handler ends the process, such as a SystemExit.
    def tell_death(error)
      return unless error && @token && Process.pid == @pid
      told = Pipsqueak.describe(error)
      told["message"] = "code #{error.status}" if SystemExit === error && told["message"] == "exit"
      answer("D", JSON.generate(told), @token)
    rescue Exception
      nil # core sees how the process ends
    end

    private

    def import(function)
      @function = function
      ENV.replace(function["env"] || {})
      return @loader.load(function) { @handler = @loader.handler(function["handler"]) } unless function["watch"]
      require_relative "watch"
      report = @loader.load(function) { Sets.during { @handler = @loader.handler(function["handler"]) } }
      report.merge("sets" => Sets.names)
    end

    # What of this runtime failed where nothing of the function's is to blame.
    def defect(error) = "#{Pipsqueak.type_of(error)}: #{Pipsqueak.message_of(error)} (#{error.backtrace&.first})"

    # Runs one event. Returns the kind and the body of the answer.
    def handle(meta, text)
      run_event(meta, text)
    rescue StandardError => e
      return "L", JSON.generate("kind" => "internal", "message" => "the Ruby runtime failed while it ran an event: #{defect(e)}")
    end

    def run_event(meta, text)
      context = Context.new(@function, meta, @calls)
      begin
        event = JSON.parse(text)
        result = @calls.during(meta["token"]) { passed(@handler.call(event, context), context) }
      rescue SystemExit, SignalException
        raise
      rescue TooLarge => e
        return "L", JSON.generate("kind" => "too_large", "message" => e.message)
      rescue Exception => e
        return "X", JSON.generate(Pipsqueak.describe(e))
      end
      encode(result)
    end

    # What a handler returns, or has passed on in parts.
    def passed(result, context)
      return result unless Enumerator === result
      require_relative "response"
      Enumerated.result(result, context)
    end

    def encode(result)
      body = JSON.encode(result)
      return "R", body if body.bytesize <= MAX_RESULT
      refuse("too_large", "takes #{body.bytesize} bytes as JSON; the limit is #{MAX_RESULT}")
    rescue SystemExit
      raise
    rescue Exception => e
      return refuse("invalid", "has over #{JSON::DEPTH} lists and objects inside of each other") if Pipsqueak.type_of(e) == JSON::TOO_DEEP
      refuse("invalid", "(a #{Pipsqueak.type_of(result)}) cannot be written as JSON: #{Pipsqueak.message_of(e)}; " \
                        "return hashes, arrays, strings in UTF-8, finite numbers, booleans and nil")
    end

    def refuse(kind, why)
      return "L", JSON.generate("kind" => kind, "message" => Pipsqueak.clean("the result of #{@handler.name} #{why}", 8000))
    end

    def answer(kind, body, token = "")
      Process.exit!(0) unless Process.pid == @pid # a child that the handler has forked, and that came back from it
      flush_outputs
      @calls.answer([1 + token.bytesize + body.bytesize, kind].pack("Na"), token, body)
    rescue Errno::EPIPE
      Process.exit!(0)
    end

    def flush_outputs
      OUTPUTS.each { |io| flush(io) }
      [$stdout, $stderr].each { |io| flush(io) unless OUTPUTS.any? { |own| own.equal?(io) } }
    end

    # The streams may be closed, or be whatever the function has put in their place.
    def flush(io)
      io.flush
    rescue Exception
      nil
    end
  end

end
