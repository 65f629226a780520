# frozen_string_literal: true

# What Ruby compiles the files of one package to, for processes to load in their place (loop/compiled.rb): `ruby compile.rb PACKAGE OUT`.
#
# What a process has compiled before shows in what it makes. So each package has a process of its own, which does nothing else.

require "fileutils"
require "json"
require_relative "../loop/compiled"

module Pipsqueak
  # Compiler compiles files as if they were required, and runs nothing of them.
  class Compiler
    NOTHING = 1024 # bytes that an empty program has at most, but for its path

    def initialize(package, out)
      @package = package
      @out = out
    end

    def run
      files.each do |file|
        code = compile(file) or next
        target = "#{@out}#{file.delete_prefix(@package)}#{Compiled::ENDING}"
        FileUtils.mkdir_p(File.dirname(target))
        File.binwrite(target, Compiled::HEAD + code)
      end
    end

    private

    # Those that can be required.
    def files
      index = "#{@package}/pipsqueak.json"
      paths = File.exist?(index) ? JSON.parse(File.read(index))["paths"] : ["."]
      paths.flat_map { |path| Dir.glob("#{File.expand_path(path, @package)}/**/*.rb") }.uniq.sort.select { |file| File.file?(file) }
    end

    # Ruby tells of what it has compiled before it runs that, and goes no further. Some files are no Ruby, such as templates: it tells of nothing in them, so
    # what is next to nothing is tried again. Who requires one will learn so.
    def compile(file)
      code = catch(:compiled) do
        TracePoint.new(:script_compiled) { |event| throw(:compiled, event.instruction_sequence.to_binary) }.enable { load(file) }
        nil
      end
      RubyVM::InstructionSequence.compile_file(file) if code && code.bytesize < NOTHING + 2 * file.bytesize
      code
    rescue ScriptError, StandardError, SystemStackError
      nil
    end
  end
end

$VERBOSE = nil # as little is said as when a function requires it
Pipsqueak::Compiler.new(*ARGV).run
