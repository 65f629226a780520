# frozen_string_literal: true

module Pipsqueak
  # Rehearsal is an instance's life with a handler of this runtime's own, which does nothing, and with nobody at the other end.
  #
  # What a process writes to after a fork is copied page by page as it is touched, and that is most of what an import and a first
  # event cost. Much of it is what Ruby notes in the code that it runs: where a method was found, what a constant was. A
  # zygote rehearses so that its children find that noted; an instance that waits, so that it has its copies before they are needed.
  class Rehearsal
    NAME = "rehearsal"
    HANDLER = "#{NAME}.pipsqueak_rehearse"
    EVENT = '{"rehearsal":[1,2.5,"three",null,true]}'
    META = '{"id":"","deadline_ms":0,"token":""}'

    def initialize(loader)
      @loader = loader
    end

    def run
      input, ours = IO.pipe
      theirs, output = IO.pipe
      load = { "function" => "", "version" => 0, "handler" => HANDLER, "memory" => 0, "env" => ENV.to_h, "packages" => @loader.packages }
      ours << frame("H", JSON.generate(load)) << frame("E", [META.bytesize].pack("N") + META + EVENT)
      ours.close
      @loader.rehearse(__dir__, NAME) { Instance.new(@loader, input, output).serve }
    ensure
      [input, theirs, output].each(&:close)
    end

    private

    def frame(kind, body) = [1 + body.bytesize, kind].pack("Na") + body
  end
end
