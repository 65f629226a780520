# frozen_string_literal: true

module Pipsqueak
  # Watch reports which environment variables imported code reads. zygote.so sees those that are asked for by their names; here is who looks at all of
  # them. It is loaded by processes that never become an instance's.
  module Watch
    ALL = "*"
    OWN = %w[RUBY_YJIT_ENABLE].freeze # Ruby itself asks for it, whatever is required

    module Everything
      %i[each each_pair each_key each_value keys values to_h to_hash to_a select filter reject invert key rassoc value? has_value? inspect clone].each do |name|
        define_method(name) do |*given, **named, &block|
          Watch.all
          super(*given, **named, &block)
        end
      end
    end

    # Returns the names that were read meanwhile.
    def self.during
      ENV.singleton_class.prepend(Everything)
      @all = false
      PipsqueakZygote.watch
      yield
    ensure
      names = PipsqueakZygote.watched.force_encoding(Encoding::UTF_8).scrub("?").lines(chomp: true)
      @reads = @all || names.include?(ALL) ? [ALL] : (names - OWN).sort
    end

    def self.all = @all = true
    def self.reads = @reads
  end

  # Sets reports which environment variables are set, changed or removed by others than gems that are just being
  # required, and whether the working directory and the arguments are. It stays in the process, which never gets an
  # event.
  module Sets
    CODE = "/function/"
    PACKAGES = "/packages/"
    DIRECTORY = "./"
    ARGUMENTS = "@argv"
    TOP = ["<top (required)>", "<main>"].freeze # what runs a file

    module Noting
      %i[[]= store delete update merge! replace clear shift delete_if reject! select! filter! keep_if].each do |name|
        define_method(name) do |*given, **named, &block|
          before = to_h
          super(*given, **named, &block)
        ensure
          Sets.note(before)
        end
      end
    end

    module Moving
      def chdir(directory = Dir.home, &block)
        Sets.note_directory unless File.expand_path(directory) == pwd
        block ? super(directory, &block) : super(directory)
      end
    end

    # Returns what the block does. Then names has the variables, ALL when something else has taken the place
    # of ENV.
    def self.during
      environment = ENV
      environment.singleton_class.prepend(Noting)
      Dir.singleton_class.prepend(Moving)
      arguments = ARGV.dup
      @names = []
      @noting = true
      yield
    ensure
      @noting = false
      @names << ARGUMENTS unless ARGV == arguments
      @names = [Watch::ALL] unless environment.equal?(Object.const_get(:ENV))
    end

    def self.names = @names.uniq.sort

    def self.note(before)
      return unless @noting && before
      after = ENV.to_h
      changed = (before.keys | after.keys).reject { |name| before[name] == after[name] }
      @names.concat(changed) unless changed.empty? || being_required?
    end

    def self.note_directory
      @names << DIRECTORY if @noting && !being_required?
    end

    # Whether of the files of gems and of the function that are just being required, the innermost is a gem's.
    def self.being_required?
      place = caller_locations.find { |one| TOP.include?(one.label) && one.path.start_with?(CODE, PACKAGES) }
      !place.nil? && place.path.start_with?(PACKAGES)
    end
  end
end
