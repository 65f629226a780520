# frozen_string_literal: true

module Pipsqueak
  # Response is one that a handler makes in parts. Each part is passed on to the caller before the handler makes the next one. Where nobody takes parts,
  # the whole response is the result, as in AWS Lambda's function URLs, payload format 2.0.
  class Response
    MAX_PART = 64 << 10
    TEXT = %r{\A(text/|application/(json|javascript|xml)|[^;]+\+(json|xml)\b)}

    # The head is an object with statusCode, headers and cookies.
    def initialize(context, head)
      @context = context
      @head = head
      @kept = "".b
      length = header("content-length").to_s
      @length = length.to_i if /\A\d+\z/.match?(length)
    end

    # Passes on bytes, and returns when the caller has taken them. Raises Errno::EPIPE.
    def write(bytes)
      raise @gone if @gone
      return keep(bytes) unless @context.streams?
      return @kept << bytes if !@begun && @kept.empty? && bytes.bytesize == @length && @length <= MAX_PART # as the result, which costs less
      bytes = @kept + bytes
      @kept.clear
      pass(bytes)
    end

    # The response has this body and no other.
    def whole(bytes)
      @context.streams? && bytes.bytesize > MAX_PART ? write(bytes) : @kept << bytes
    end

    # Whether the error says nothing but that the caller has gone.
    def gone?(error)
      error = error.cause while error && !error.equal?(@gone)
      !error.nil?
    end

    def result
      return if @begun
      text = @kept.dup.force_encoding("UTF-8")
      is_text = TEXT.match?(header("content-type").to_s) && !header("content-encoding") && text.valid_encoding?
      { "statusCode" => 200, **@head, "body" => is_text ? text : [@kept].pack("m0"), "isBase64Encoded" => !is_text }
    end

    private

    def header(name)
      @head["headers"]&.find { |key, _| key.to_s.casecmp?(name) }&.last
    end

    def keep(bytes)
      @kept << bytes
      return if @kept.bytesize <= Instance::MAX_RESULT
      raise TooLarge, "the response has over #{Instance::MAX_RESULT} bytes, and who has asked for it takes it as a whole only: ask over HTTP/1.1 at /fn"
    end

    def pass(bytes)
      at = 0
      while at < bytes.bytesize || !@begun
        head = @begun ? nil : @head
        @begun = true
        @context.pass(head, bytes.byteslice(at, MAX_PART))
        at += MAX_PART
      end
    rescue Errno::EPIPE => e
      @gone = e
      raise
    end
  end

  # Enumerated passes on what an Enumerator yields: perhaps a Hash that is the head, then strings.
  module Enumerated
    def self.result(enumerator, context)
      response = nil
      enumerator.each do |part|
        head = Hash === part ? part.transform_keys(&:to_s) : {} unless response
        response ||= Response.new(context, typed(head))
        response.write(bytes_of(part)) unless Hash === part && head
      end
      (response || Response.new(context, typed({}))).result
    rescue Errno::EPIPE => e
      raise unless response&.gone?(e)
    end

    def self.typed(head)
      headers = head["headers"] || {}
      return head if headers.any? { |name, _| name.to_s.casecmp?("content-type") }
      head.merge("headers" => { **headers, "content-type" => "application/octet-stream" })
    end

    def self.bytes_of(part)
      return part.b if String === part
      raise TypeError, "an Enumerator of a handler yields strings, and first of all perhaps a Hash with statusCode, headers and cookies; this is a #{part.class}"
    end
  end
end
