# frozen_string_literal: true

require_relative "draws"
require_relative "once"

module Pipsqueak
  # Asked reports what imported code looks for, there or not: files, gems, and constants in `defined?` where files begin. That includes
  # Ruby's own libraries, because a gem may have one of the same name. Only processes that never become an instance's load it.
  #
  # What it does not see: whether a constant was there because of the order of imports.
  module Asked
    ALL = "*"
    MAX = 1000 # names, before it is all of them
    PACKAGE = %r{\A/packages/[^/]+}
    LISTS = %i[each each_key each_value each_pair keys values to_a map select filter find any? size].freeze

    # Who looks for gems among those of the small Gem of this runtime.
    module Specs
      %i[[] fetch key? has_key? include? member? dig].each do |method|
        define_method(method) do |name = nil, *given, &block|
          Asked.note(name)
          super(name, *given, &block)
        end
      end
      LISTS.each do |method|
        define_method(method) do |*given, &block|
          Asked.note(ALL)
          super(*given, &block)
        end
      end
    end

    # Who asks RubyGems itself.
    module Specifications
      %i[find_by_name find_all_by_name find_by_full_name stubs_for].each do |method|
        define_method(method) do |name, *given|
          Asked.note(name)
          super(name, *given)
        end
      end
      %i[each all all_names latest_specs].each do |method|
        define_method(method) do |*given, &block|
          Asked.note(ALL)
          super(*given, &block)
        end
      end
    end

    @files = {} # of Ruby's own that were loaded: what they have asked for themselves
    @frames = []

    class << self
      # Notes what is asked for meanwhile.
      def during
        @hooked ||= hook
        @names = {} # what was asked for => where it is, nil when nowhere
        @gems = {}
        @frames = [@names]
        PipsqueakZygote.look(CODE)
        @compiled.enable { yield }
      ensure
        @frames = []
        PipsqueakZygote.looked.force_encoding(Encoding::UTF_8).scrub("?").each_line(chomp: true) { |name| @gems[name] = true }
      end

      # What was asked for: files end in ".rb", so that one that lies below another's name is not taken for it; of those of one package only the outermost.
      def names
        found, others = @names.partition { |_, path| path&.match?(PACKAGE) }
        inside = found.group_by { |_, path| path[PACKAGE] }.values.flat_map do |all|
          names = all.map(&:first)
          names.reject { |name| names.any? { |other| name.start_with?("#{other}/") } }
        end
        names = (inside + others.map(&:first)).map { |name| "#{name}.rb" } | @gems.keys
        names.size > MAX || names.include?(ALL) ? [ALL] : names.sort
      end

      # A name of a gem, or what stands for something else than files.
      def note(name)
        @gems[name.to_s] = true unless @frames.empty? || name.nil?
      end

      # A constant, which a gem of such a name would have made.
      def note_constant(parts)
        [parts.map { |part| part.gsub(/(?<=[a-z\d])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/, "_").downcase }, parts.map(&:downcase)].each do |names|
          @frames.last&.store(names.join("/"), nil)
        end
      end

      # Yields, and notes what that looks for: it loads the feature.
      def ask(feature, &block)
        name = name_of(feature)
        name && @frames.last ? past(name) { ask_for(name, @frames.last, &block) } : yield
      end

      private

      # Yields, and does not take for a look at the function's files what Ruby does to find a feature among them.
      def past(name)
        before = @past
        PipsqueakZygote.look_past(@past = name)
        yield
      ensure
        PipsqueakZygote.look_past((@past = before) || "")
      end

      def ask_for(name, frame)
        path = $LOAD_PATH.resolve_feature_path(name)&.last
        frame[name] = path
        return yield if path.nil? || path.match?(PACKAGE)
        if (known = @files[path])
          frame.update(known)
          return yield
        end
        @frames << (@files[path] = {})
        begin
          yield
        ensure
          frame.update(@files[path])
          @frames.delete_if { |one| one.equal?(@files[path]) }
          watch_rubygems if name == "rubygems"
          Draws.hook_openssl if name == "openssl"
        end
      end

      def name_of(feature)
        text = feature.respond_to?(:to_path) ? feature.to_path : feature
        text.delete_suffix(".rb").delete_suffix(".so") if String === text && !text.start_with?("/", "./", "../", "~")
      rescue StandardError
        nil # the object of somebody who wants no answer
      end

      def hook
        watch_requires
        Once.hook
        Draws.hook
        gem = Kernel.instance_method(:gem)
        Kernel.define_method(:gem) do |name, *given|
          Asked.note(name)
          gem.bind_call(self, name, *given)
        end
        Kernel.send(:private, :gem)
        defined = Module.instance_method(:const_defined?)
        Module.define_method(:const_defined?) do |name, *given|
          Asked.note_constant(name.to_s.delete_prefix("::").split("::")) if equal?(Object)
          defined.bind_call(self, name, *given)
        end
        Gem.loaded_specs.singleton_class.prepend(Specs)
        watch_rubygems if $LOADED_FEATURES.any? { |file| file.end_with?("/rubygems.rb") }
        @compiled = TracePoint.new(:script_compiled) { |event| read(event.instruction_sequence.absolute_path) unless event.eval_script }
        true
      end

      def watch_requires
        [Kernel, Kernel.singleton_class].each do |owner|
          %i[require load].each do |method|
            original = owner.instance_method(method)
            owner.define_method(method) { |feature, *given| Asked.ask(feature) { original.bind_call(self, feature, *given) } }
          end
        end
        Kernel.send(:private, :require, :load)
      end

      # RubyGems has put its own in the place of some.
      def watch_rubygems
        watch_requires
        Gem.loaded_specs.singleton_class.prepend(Specs)
        Gem::Specification.singleton_class.prepend(Specifications)
      end

      # Notes the constants in `defined?` of a file.
      def read(path)
        visit(RubyVM::AbstractSyntaxTree.parse_file(path)) if path && File.binread(path).include?("defined?")
      rescue SyntaxError, SystemCallError, ArgumentError, NotImplementedError
        nil # the import will say so
      end

      def visit(node)
        return if !(RubyVM::AbstractSyntaxTree::Node === node) || %i[DEFN DEFS LAMBDA].include?(node.type) # may never run
        parts = node.type == :DEFINED && constant(node.children[0])
        note_constant(parts) if parts
        node.children.each { |child| visit(child) }
      end

      # The parts of the name of a constant, nil of anything else.
      def constant(node)
        case node&.type
        when :CONST, :COLON3 then [node.children.last.to_s]
        when :COLON2 then (parts = constant(node.children[0])) && [*parts, node.children[1].to_s]
        end
      end
    end
  end
end
