# frozen_string_literal: true

module Pipsqueak
  # Fresh has what generates random numbers in a zygote, and sees to it that its children do not generate the same ones.
  class Fresh
    INITIALIZE = Random.instance_method(:initialize)
    # Seeds below are somebody's choice, and what they give is the same everywhere. Ruby's own have 128 bits.
    CHOSEN = 1 << 64
    # Methods without arguments by which generators give what comes next.
    NEXT = %i[rand random random_number next_float uuid].freeze

    # To look for them takes a walk over all objects: a zygote does it once for all its children.
    def initialize
      @generators = ObjectSpace.each_object(Random).reject { |random| random.frozen? || random.seed < CHOSEN }
      # net/http has OpenSSL loaded by who asks for what is in it: in each child, and nobody may need it.
      @openssl = OpenSSL::Random if !Object.autoload?(:OpenSSL) && defined?(OpenSSL::Random)
    end

    # Ruby itself has seeded its own generator again.
    def seed
      @generators.each { |random| INITIALIZE.bind_call(random) }
      @openssl&.seed(Random.urandom(32))
    end

    # What the generators give next that the code of each module has: a line for each.
    def self.draw(modules)
      roots = modules.to_h { |name| [name, root_of(name)] }.compact
      found = Hash.new { |all, name| all[name] = [] }
      each_generator do |object, method, file|
        name = roots.keys.find { |one| file.start_with?(roots[one]) } or next
        said = telling { object.public_send(method) } or next
        found[name] << "#{Pipsqueak.type_of(object)}.#{method} #{said}"
      rescue Exception
        next # it wants something else of whoever calls
      end
      found.transform_values { |lines| lines.uniq.sort.join("\n") }
    end

    # What a block gives next, as text: so much of it that two processes do not have the same by chance. Nothing when that is no number or text, but a
    # generator for example, which has a place in memory as its text.
    def self.telling
      values = [yield]
      values << yield while values.size < 64 && values.last.to_s.size < 8
      values.join(" ") if values.all? { |value| Numeric === value || String === value }
    end

    # The directory of the package that a module is of.
    def self.root_of(name)
      file = $LOADED_FEATURES.reverse.find { |feature| feature.end_with?("/#{name}.rb", "/#{name}.so") }
      file && file[%r{\A/packages/[^/]+/}]
    end

    # Yields objects with methods that draw, and where these are defined.
    def self.each_generator
      ObjectSpace.each_object(Module) do |mod|
        drawing(METHODS.bind_call(mod.singleton_class, false)) { |name| located(mod.singleton_class, name) { |file| yield mod, name, file } }
        next unless Class === mod && !mod.singleton_class?
        drawing(METHODS.bind_call(mod, false)) do |name|
          located(mod, name) { |file| ObjectSpace.each_object(mod) { |object| yield object, name, file } }
        end
      end
    end

    METHODS = Module.instance_method(:public_instance_methods)
    DEFINED = Module.instance_method(:instance_method)

    def self.drawing(methods, &block) = (methods & NEXT).each(&block)

    def self.located(owner, name)
      method = DEFINED.bind_call(owner, name)
      yield method.source_location.first if method.source_location && [0, -1].include?(method.arity)
    end
  end
end
