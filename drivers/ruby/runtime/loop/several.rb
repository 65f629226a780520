# frozen_string_literal: true

module Pipsqueak
  # SeveralCalls is what an instance with several events has under way: the main thread reads all frames, and hands answers to the threads that wait.
  class SeveralCalls < Calls
    MAX_OUTPUT = 32 << 10

    def initialize(input, output)
      super
      @reading = true # for good
      @running = {} # tokens of events under way
    end

    # Reads frames until the end of the endpoint, and yields those that begin an event.
    def each_event
      while (frame = take)
        case frame[4]
        when "A" then @lock.synchronize { file(frame) && @arrived.broadcast }
        when "E" then yield frame
        else return
        end
      end
    end

    def during(token)
      @lock.synchronize { @running[token] = true }
      yield
    end

    # Answers the event of that token, of which nothing comes any more. What its threads still await never comes.
    def finish(token, *parts)
      Thread.handle_interrupt(Object => :never) do
        @lock.synchronize do
          @running.delete(token)
          @output.write(*parts)
          cancel(token)
        end
      end
    end

    # Passes on what was printed by a thread of an event. Nil if there is none.
    def print(number, parts)
      token = Thread.current.thread_variable_get(:pipsqueak_event)
      return unless token && Process.pid == @pid
      text = parts.map { |part| part.to_s.b }.join
      Thread.handle_interrupt(Object => :never) do
        @lock.synchronize do
          return unless @running.key?(token)
          0.step(text.bytesize - 1, MAX_OUTPUT) do |at|
            piece = text.byteslice(at, MAX_OUTPUT)
            @output.write([2 + token.bytesize + piece.bytesize, "O", token, number].pack("Naa*a"), piece)
          end
        end
      end
      text.bytesize
    end

    private

    def under_way?(token) = @running.key?(token)
  end

  class Instance
    # Answers several events at once, each in a thread of its own, until core closes the endpoint.
    def serve_several(most)
      @calls = SeveralCalls.new(@input, @output)
      assign_output
      waiting = Queue.new
      threads = 0
      @calls.each_event do |frame|
        waiting << frame
        next if waiting.num_waiting >= waiting.size || threads == most
        Thread.new { work(waiting) }.report_on_exception = false
        threads += 1
      end
    end

    private

    def work(waiting)
      loop do
        frame = waiting.pop
        event = 9 + frame.unpack1("N", offset: 5)
        meta = JSON.parse(frame.byteslice(9, event - 9))
        own = meta["token"]
        Thread.current.thread_variable_set(:pipsqueak_event, own)
        begin
          kind, body = handle(meta, frame.byteslice(event, frame.bytesize))
        rescue SystemExit, SignalException => e
          @token = own # it ends the process, and that is told last
          Thread.main.raise(e)
          sleep
        end
        finish(kind, body, own)
      end
    end

    def finish(kind, body, own)
      Process.exit!(0) unless Process.pid == @pid
      flush_outputs
      @calls.finish(own, [1 + own.bytesize + body.bytesize, kind].pack("Na"), own, body)
    rescue Errno::EPIPE
      Process.exit!(0)
    end

    # Has what is written to the streams in an event come to core with the event's token. The rest goes where it went before.
    def assign_output
      calls = @calls
      OUTPUTS.each.with_index(1) do |io, number|
        io.define_singleton_method(:write) { |*parts| calls.print(number.to_s, parts) || super(*parts) }
      end
      Warning.prepend(Module.new do # which does not call write
        define_method(:warn) do |message, **options|
          shown = STDERR.equal?($stderr) && String === message && (options[:category].nil? || Warning[options[:category]])
          shown && calls.print("2", [message]) ? nil : super(message, **options)
        end
      end)
    end
  end
end
