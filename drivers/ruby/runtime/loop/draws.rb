# frozen_string_literal: true

module Pipsqueak
  # Draws reports code that draws random numbers while it is required: whatever it keeps of them, such as the beginning of a counter, would be the
  # same in each fork. Asked has the name by which core knows it.
  #
  # It does not report names for temporary files, and of generators that their author has seeded. A new Random is no draw either: Fresh seeds it again.
  module Draws
    RANDOM = "@random"
    SEED = Random.instance_method(:seed)
    FUNCTIONS = %i[rand srand].freeze
    OF_CLASS = %i[rand srand random_number bytes seed new_seed urandom].freeze
    OF_OBJECT = %i[rand random_number bytes seed].freeze
    OF_ARRAY = %i[shuffle shuffle! sample].freeze
    OF_OPENSSL = %i[random_bytes pseudo_bytes].freeze
    GENERATORS = %r{\A<internal:|/(securerandom|random/formatter)\.rb\z}
    TEMPORARY = %r{/(tmpdir|tempfile)\.rb\z}
    TOP = "<top (required)>" # runs a file

    class << self
      def hook
        FUNCTIONS.each { |name| Kernel.send(:private, replace(Kernel, name)) }
        FUNCTIONS.each { |name| replace(Kernel.singleton_class, name) }
        OF_CLASS.each { |name| replace(Random.singleton_class, name) }
        OF_OBJECT.each { |name| replace(Random, name) { |random| !chosen?(random) } }
        OF_ARRAY.each { |name| replace(Array, name) { |_, random: nil| !chosen?(random) } }
        hook_openssl
      end

      # Of a library that may be loaded later.
      def hook_openssl
        return if @openssl || Object.autoload?(:OpenSSL) || !defined?(::OpenSSL::Random)
        @openssl = true
        OF_OPENSSL.each { |name| replace(::OpenSSL::Random.singleton_class, name) }
      end

      private

      # Has a method note that it was called, if the block says so of its receiver and arguments.
      def replace(owner, name, &counts)
        return name unless owner.method_defined?(name) || owner.private_method_defined?(name)
        original = owner.instance_method(name)
        owner.define_method(name) do |*given, **named, &block|
          Draws.note(Once.stack) if counts.nil? || counts.call(self, *given, **named)
          original.bind_call(self, *given, **named, &block)
        end
      end

      def chosen?(random) = Random === random && SEED.bind_call(random) < Fresh::CHOSEN
    end

    # Notes a draw, unless by it a library just finds out whether it can, or it is for the name of a temporary file.
    def self.note(places)
      own = places.take_while { |one| GENERATORS.match?(one.path) }
      drawer = places[own.size]
      Asked.note(RANDOM) unless own.any? { |one| one.label == TOP } || drawer && TEMPORARY.match?(drawer.path)
    end
  end
end
