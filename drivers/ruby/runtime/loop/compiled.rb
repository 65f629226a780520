# frozen_string_literal: true

module Pipsqueak
  # Compiled has Ruby load what a file of a package was compiled to, beside which that is (install/compile.rb): to compile it takes longer than to run it.
  module Compiled
    PACKAGES = "/packages/"
    ENDING = ".iseq"
    # Ruby looks at its version alone, and trusts the rest.
    HEAD = "#{RUBY_DESCRIPTION[/.*?\)/]} #{RUBY_PLATFORM}\n".b.freeze
    THERE, READ, LOAD = FileTest.method(:file?), IO.method(:binread), RubyVM::InstructionSequence.method(:load_from_binary) # whatever packages make of them

    class << self
      # From now on, Ruby asks this for each file that it loads.
      def begin = RubyVM::InstructionSequence.define_singleton_method(:load_iseq) { |path| Compiled.of(path) }

      # Whoever watches what is compiled wants to see it.
      def end = @ended = true

      # Returns what a file was compiled to, nil to have it compiled.
      def of(path)
        return if @ended || !path.start_with?(PACKAGES)
        file = "#{path}#{ENDING}"
        bytes = READ.call(file) if THERE.call(file)
        LOAD.call(bytes.byteslice(HEAD.bytesize..)) if bytes&.start_with?(HEAD)
      rescue StandardError
        nil
      end
    end
  end
end
