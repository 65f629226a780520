# Runs the function once: the event on stdin, the result on stdout.
require "json"
require_relative "handler"
puts JSON.generate(handler(event: JSON.parse($stdin.read), context: nil))
