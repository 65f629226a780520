# frozen_string_literal: true

require_relative "response"

module Pipsqueak
  # Application has a Rack application (https://github.com/rack/rack/blob/main/SPEC.rdoc) answer events that are HTTP requests as in AWS Lambda's
  # function URLs, payload format 2.0, and so are the results.
  class Application
    attr_reader :name

    def initialize(name, application)
      require "stringio"
      @name = name
      @application = application
    end

    def call(event, context)
      status, headers, body = @application.call(environment(event, context))
      response = begin_response(context, status.to_i, headers)
      pass(body, response)
      response.result
    rescue StandardError => e
      raise unless response&.gone?(e)
    ensure
      body.close if body.respond_to?(:close)
    end

    private

    def environment(event, context)
      http = Hash === event && event.dig("requestContext", "http")
      unless http && event["rawPath"]
        raise ArgumentError, "the handler #{@name} is a web application, and the event is no HTTP request: send requests to /fn/NAME"
      end
      body = event["body"].to_s
      body = event["isBase64Encoded"] ? body.unpack1("m") : body.b
      headers = event["headers"]
      headers = headers.merge("cookie" => event["cookies"].join("; ")) if event["cookies"]
      scheme = headers.fetch("x-forwarded-proto", "http")
      host, port = headers.fetch("host", "localhost").match(/\A(.*?)(?::(\d+))?\z/).captures
      environment = {
        "REQUEST_METHOD" => http["method"], "SCRIPT_NAME" => headers.fetch("x-forwarded-prefix", ""), "PATH_INFO" => event["rawPath"],
        "QUERY_STRING" => event["rawQueryString"].to_s, "SERVER_NAME" => host, "SERVER_PORT" => port || (scheme == "https" ? "443" : "80"),
        "SERVER_PROTOCOL" => http["protocol"], "REMOTE_ADDR" => http["sourceIp"], "CONTENT_LENGTH" => body.bytesize.to_s,
        "rack.version" => [1, 6], "rack.url_scheme" => scheme, "rack.input" => StringIO.new(body), "rack.errors" => $stderr,
        "rack.multithread" => Instance.serving&.several? == true, "rack.multiprocess" => false, "rack.run_once" => false, "rack.hijack?" => false,
        "aws.event" => event, "aws.context" => context
      }
      headers.each do |name, value|
        next if name == "content-length" || name.include?("_") # X_Y would pass for X-Y
        environment[name == "content-type" ? "CONTENT_TYPE" : "HTTP_#{name.upcase.tr("-", "_")}"] = value
      end
      environment
    end

    # Passes on a body: all of it, its parts, or what it writes into a stream.
    def pass(body, response)
      if body.respond_to?(:to_ary)
        response.whole(body.to_ary.map(&:b).join)
      elsif body.respond_to?(:each)
        body.each { |part| response.write(part.b) unless part.empty? }
      else
        body.call(Stream.new(response))
      end
    end

    # Stream is what a body that is called writes into.
    class Stream
      def initialize(response) = @response = response

      def write(*parts)
        bytes = parts.map { |part| part.to_s.b }.join
        @response.write(bytes)
        bytes.bytesize
      end

      def <<(part)
        write(part)
        self
      end

      def read(*) = nil
      def flush = self
      def closed? = @closed == true
      def close(*) = @closed = true
      def close_read = nil
      alias close_write close
    end
    private_constant :Stream

    # A header with several values is a list, or has them on lines of their own.
    def begin_response(context, status, headers)
      joined = {}
      cookies = []
      headers.each do |name, values|
        values = values.split("\n") if String === values
        name = name.downcase
        name == "set-cookie" ? cookies.concat(values) : joined[name] = values.join(", ")
      end
      Response.new(context, { "statusCode" => status, "headers" => joined, "cookies" => cookies })
    end
  end
end
