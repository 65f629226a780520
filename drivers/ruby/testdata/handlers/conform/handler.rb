# frozen_string_literal: true

# The handler that the conformance kit sends its events to: it does what event["do"] says (docs/conformance.md).

require "digest"
require "open3"
require "openssl"
require "securerandom"
require "tempfile"

class KitError < StandardError; end

NUMBERS = { "NaN" => Float::NAN, "Infinity" => Float::INFINITY, "-Infinity" => -Float::INFINITY }.freeze
HELD = []
$count = 0

def handler(event:, context:)
  return event unless event.is_a?(Hash) && event.key?("do")
  Kit.public_send(event["do"].to_sym == :raise ? :fall : :"do_#{event["do"]}", event, context)
end

def descend(message, depth, causes)
  descend(message, depth - 1, causes) if depth.positive?
  raise KitError, message if causes.empty?
  begin
    descend(causes[0], 0, causes[1..])
  rescue KitError
    raise KitError, message
  end
end

class Unreadable < StandardError
  def message = raise(KitError, "no text")
  def cause = self
end

module Kit
  class << self
    def do_echo(event, _) = event["value"]
    def fall(event, _) = descend(event["message"], event.fetch("depth", 0), event.fetch("causes", []))
    def do_unreadable(_, _) = raise(Unreadable)
    def do_exit(event, _) = exit(event["code"])
    def do_crash(_, _) = Process.kill(:SEGV, Process.pid)
    def do_hang(_, _) = loop { sleep 1 }
    def do_big(event, _) = "x" * event["bytes"]
    def do_state(_, _) = $count += 1
    def do_env(_, _) = ENV.to_h
    def do_unusable(_, _) = Float::NAN
    def do_drawn(event, _) = KitDraw::DRAWN.fetch(event["module"])
    def do_nest(event, _) = (event["levels"] - 1).times.reduce([]) { |nested, _| [nested] }

    def do_print(event, _)
      $stdout.write(event.fetch("out", ""))
      $stderr.write(event.fetch("err", ""))
      nil
    end

    def do_random(_, _)
      {
        rand: rand.to_s, random: Random.new.bytes(8).unpack1("H*"), shuffle: [*1..30].shuffle.join(" "), secure: SecureRandom.hex,
        uuid: SecureRandom.uuid, openssl: OpenSSL::Random.random_bytes(16).unpack1("H*"), tempfile: Tempfile.open { |file| File.basename(file.path).tap { file.unlink } }
      }
    end

    def do_bytes(event, _)
      text = event["bytes"].pack("C*").force_encoding("UTF-8")
      event["key"] ? { text => 1 } : text
    end

    def do_odd(event, _)
      cycle = []
      cycle << cycle
      odd = { "function" => method(:do_odd), "object" => KitError.new, "cycle" => cycle }.fetch(event["name"])
      event["within"] ? { value: odd } : odd
    end

    def do_signal(_, _)
      caught = Queue.new
      Signal.trap(:USR2) { caught << 1 }
      Process.kill(:USR2, Process.pid)
      caught.pop
    end

    def do_about(_, context)
      { request_id: context.aws_request_id, function: context.function_name, remaining_ms: context.get_remaining_time_in_millis,
        pid: Process.pid, cwd: Dir.pwd }
    end

    def do_file(event, _)
      File.write(event["path"], event["text"]) if event.key?("text")
      File.read(event["path"])
    end

    def do_run(event, _)
      out, status = Open3.capture2("/bin/sh", "-c", event["command"])
      { out: out, status: status.exitstatus }
    end

    def do_number(event, _)
      number = NUMBERS.fetch(event["name"])
      event["within"] ? [number] : number
    end

    def do_fork(_, _)
      child = fork or return "child"
      Process.wait(child)
      "parent"
    end

    def do_sleep(event, _)
      sleep(event["ms"] / 1000.0)
      nil
    end

    def do_grow(event, _)
      HELD << "x" * event["bytes"]
      nil
    end

    def do_stream(event, _)
      Enumerator.new do |out|
        out << event["head"] if event["head"]
        (event["bytes"] ? ["x" * event["bytes"]] : event.fetch("parts", [])).each { |part| out << part }
        raise KitError, event["raise"] if event["raise"]
      rescue Errno::EPIPE
        $count += 1
      end
    end

    def do_invoke(event, context)
      calls = event["calls"].map { |name, argument| [name, event.key?("bytes") ? "x" * event["bytes"] : argument] }
      calls.map { |name, argument| Thread.new { call(context, name, argument, event["uncaught"]) } }.map(&:value)
    end

    private

    def call(context, name, argument, uncaught)
      Thread.current.report_on_exception = false
      { result: context.invoke(name, argument) }
    rescue Pipsqueak::InvokeError => e
      raise if uncaught
      { error: { kind: e.kind, fault: e.fault, message: e.message, retryable: e.retryable } }
    end
  end
end
