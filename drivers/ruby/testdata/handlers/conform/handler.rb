# frozen_string_literal: true

# The handler that the conformance kit sends its events to: it does what event["do"] says (docs/conformance.md).

require "fiddle"
require "open3"
require "securerandom"
require "tmpdir"

class KitError < StandardError; end

$count = 0
$held = []

def handler(event:, context:)
  return event unless event.is_a?(Hash) && event.key?("do")
  Kit.public_send("do_#{event["do"]}", event, context)
end

def fall(message, depth)
  fall(message, depth - 1) if depth.positive?
  raise KitError, message
end

module Kit
  module_function

  def do_echo(event, _) = event["value"]
  def do_raise(event, _) = fall(event["message"], event["depth"] || 0)
  def do_exit(event, _) = exit(event["code"])
  def do_crash(_, _) = Fiddle::Pointer.new(1)[0]
  def do_hang(_, _) = loop { sleep 1 }
  def do_big(event, _) = "x" * event["bytes"]
  def do_state(_, _) = $count += 1
  def do_env(_, _) = ENV.to_h
  def do_unusable(_, _) = Float::NAN

  def do_print(event, _)
    $stdout.print(event["out"])
    $stderr.print(event["err"])
    nil
  end

  def do_random(_, _)
    { "rand" => rand.to_s, "random" => Random.rand(2**64).to_s, "own" => Random.new.rand(2**64).to_s, "secure" => SecureRandom.hex,
      "uuid" => SecureRandom.uuid, "tmpname" => Dir::Tmpname.create("kit") { |name| name } }
  end

  def do_about(_, context)
    { "request_id" => context.aws_request_id, "function" => context.function_name, "remaining_ms" => context.get_remaining_time_in_millis,
      "pid" => Process.pid, "cwd" => Dir.pwd }
  end

  def do_file(event, _)
    File.write(event["path"], event["text"]) if event.key?("text")
    File.read(event["path"])
  end

  def do_run(event, _)
    out, status = Open3.capture2("/bin/sh", "-c", event["command"])
    { "out" => out, "status" => status.exitstatus }
  end

  def do_sleep(event, _)
    sleep(event["ms"] / 1000.0)
    nil
  end

  def do_grow(event, _)
    $held << "x" * event["bytes"]
    nil
  end

  def do_invoke(event, context)
    event["calls"].map { |name, argument| Thread.new { invoke(event, context, name, argument) } }.map(&:value)
  end

  def invoke(event, context, name, argument)
    Thread.current.report_on_exception = false
    argument = "x" * event["bytes"] if event.key?("bytes")
    { "result" => context.invoke(name, argument) }
  rescue Pipsqueak::InvokeError => e
    raise if event["uncaught"]
    { "error" => { "kind" => e.kind, "fault" => e.fault, "message" => e.message, "retryable" => e.retryable } }
  end
end
