# frozen_string_literal: true

module Pipsqueak
  # Calls is what the process has under way on its endpoint: it awaits an event, and while one is handled, the answers to what
  # the handler invokes, from any of its threads. Whoever awaits something and finds nobody reading reads for all.
  class Calls
    CHUNK = 64 << 10
    MAX_FRAME = (6 << 20) + (64 << 10)
    ANSWER = "A".ord

    # Input and output are the endpoint.
    def initialize(input, output)
      @input = input
      @output = output
      @output.sync = true
      @buffer = String.new
      @lock = Mutex.new
      @arrived = ConditionVariable.new
      @got = {} # :event or the number of a call => what came for it
      @open = {} # numbers of calls that are awaited => the tokens of their events
      @number = 0
      @pid = Process.pid
      @token = nil # of the event under way
      @reading = false
    end

    # Returns the next frame of that kind that is for the main thread, or nil at the end. Another kind is a defect of the
    # sender, and the end.
    def receive(kind)
      frame = @lock.synchronize { await(:event) }
      frame if frame && frame[4] == kind
    end

    def answer(*parts)
      @lock.synchronize { @output.write(*parts) }
    end

    # Runs a handler with the event of that token. What it has not awaited when it is done never comes.
    def during(token)
      @token = token
      yield
    ensure
      @token = nil
      @lock.synchronize { cancel(token) } unless @open.empty?
    end

    # Has core run a function. Returns its result, or raises InvokeError.
    def invoke(token, name, event)
      raise InvokeError.new(name, Calls.refusal("#{name} cannot be invoked by a process that the handler has forked")) unless Process.pid == @pid
      body = JSON.encode(event)
      error, result = ask("I", token, { "function" => name.to_s }, body)
      raise InvokeError.new(name, Calls.late(name)) if error == :late
      raise InvokeError.new(name, error) if error
      JSON.parse(result)
    end

    # Passes on a part of the response, the first one with its head. Returns when the caller has taken it. Raises Errno::EPIPE.
    def pass(token, head, bytes)
      error, = ask("S", token, head ? { "head" => head } : {}, bytes)
      raise Errno::EPIPE, error == :late ? "the event has been answered" : error["message"] if error
    end

    private

    # Has core do something for an event, and waits for it. Returns the error, :late if the event has been answered, and the result.
    def ask(kind, token, meta, body)
      answer = @lock.synchronize { exchange(kind, token, meta, body) } or return :late
      meta_end = 9 + answer.unpack1("N", offset: 5)
      return JSON.parse(answer.byteslice(9, meta_end - 9))["error"], answer.byteslice(meta_end, answer.bytesize)
    end

    def exchange(kind, token, meta, body)
      return unless under_way?(token) && Process.pid == @pid
      call = @number += 1
      @open[call] = token
      meta = JSON.generate("call" => call, **meta)
      head = [5 + token.bytesize + meta.bytesize + body.bytesize, kind, token, meta.bytesize].pack("Naa*N")
      # Half a frame would be the end of this process: no Timeout in between.
      Thread.handle_interrupt(Object => :never) { @output.write(head, meta, body) }
      await(call)
    ensure
      @open.delete(call)
      @got.delete(call)
    end

    def self.late(name) = refusal("#{name} was invoked by a thread whose event has been answered")

    def self.refusal(message) = { "kind" => "invalid", "fault" => "handler", "message" => message }

    def under_way?(token) = token == @token

    # Ends what is awaited in the event of that token. The caller has the lock.
    def cancel(token)
      @open.each { |call, own| @got[call] = nil if own == token }
      @arrived.broadcast
    end

    # Returns what comes for the key. The caller has the lock.
    def await(key)
      until @got.key?(key)
        if @reading
          @arrived.wait(@lock)
        else
          read_for_all
        end
      end
      @got.delete(key)
    end

    def read_for_all
      @reading = true
      @lock.unlock
      begin
        frame = take
      ensure
        @lock.lock
        @reading = false
        @arrived.broadcast
      end
      file(frame)
    end

    def file(frame)
      return @got[:event] = frame unless frame && frame.getbyte(4) == ANSWER
      meta = JSON.parse(frame.byteslice(9, frame.unpack1("N", offset: 5)))
      @got[meta["call"]] = frame if @open.key?(meta["call"])
    end

    # Reads one frame. Nil at the end, and when it cannot be one.
    def take
      loop do
        size = @buffer.bytesize < 4 ? CHUNK : 4 + @buffer.unpack1("N")
        return if size < 5 || size > MAX_FRAME + 4
        return @buffer.slice!(0, size) if @buffer.bytesize >= size
        @open.empty? ? read(size) : read_uninterrupted(size)
      end
    rescue EOFError, Errno::ECONNRESET
      nil
    end

    def read(size)
      @buffer << @input.readpartial([size - @buffer.bytesize, CHUNK].max)
    end

    # Ruby may interrupt a thread that reads (Timeout does), and what it had read would be lost: it is interrupted before.
    def read_uninterrupted(size)
      IO.select([@input])
      Thread.handle_interrupt(Object => :never) { read(size) }
    end
  end
end
