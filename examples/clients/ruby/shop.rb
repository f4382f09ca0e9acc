# frozen_string_literal: true

# Tidegate from Ruby 3, with the standard library: ruby shop.rb DATA SALE ADMIN, each as HOST:PORT.
require "erb"
require "json"
require "net/http"
require "securerandom"

TIMEOUT = 5 # seconds without a byte of an answer

# An answer that is not 2xx: problem details (RFC 9457). `type` is stable, `detail` is for people.
class Problem < StandardError
  attr_reader :status, :type, :body

  def initialize(status, body)
    super(body["detail"])
    @status, @type, @body = status, body["type"], body
  end
end

# One kept connection to one listener. It is for one thread: keep a client for each, or a pool of them.
class Client
  NO_ANSWER = [SystemCallError, IOError, SocketError, Net::OpenTimeout, Net::ReadTimeout,
               Net::WriteTimeout, Net::HTTPBadResponse, Net::ProtocolError].freeze

  def initialize(address, token = nil)
    host, port = address.split(":")
    @http = Net::HTTP.new(host, port.to_i)
    @http.open_timeout = @http.read_timeout = @http.write_timeout = TIMEOUT
    # Net::HTTP would repeat GET, PUT and DELETE by itself; `read` and `change` do it knowingly.
    @http.max_retries = 0
    # A connection that was idle for longer is closed before its use; Tidegate closes it after 75 s.
    @http.keep_alive_timeout = 30
    @headers = token ? { "Authorization" => "Bearer #{token}" } : {}
  end

  def send_request(method, path, body = nil, headers = {})
    headers = @headers.merge(headers)
    headers["Content-Type"] = "application/json" if body
    @http.start unless @http.started? # without it every request would connect
    response = @http.send_request(method, path, body && JSON.generate(body), headers)
    content = JSON.parse(response.body)
    raise Problem.new(response.code.to_i, content) unless response.is_a?(Net::HTTPSuccess)

    [response, content]
  rescue *NO_ANSWER
    @http.finish if @http.started? # the next request connects again
    raise
  end

  # Reads from the data API. A closed idle connection is the usual error of a kept one: repeat once.
  def read(path, after: nil)
    headers = after ? { "Tidegate-After" => after } : {}
    send_request("GET", path, nil, headers)
  rescue *NO_ANSWER
    send_request("GET", path, nil, headers)
  end

  # Repeats a request with its key until its outcome is known: without an answer it may have had its effect.
  def change(method, path, body, key, seconds: 30)
    last = now + seconds
    wait = 0.1
    loop do
      begin
        response, content = send_request(method, path, body, { "Idempotency-Key" => key })
        return content unless response.code == "202"

        wait = response["Retry-After"].to_i # a payment is under way
      rescue Problem => e
        raise unless e.type.end_with?(":request-in-flight") || e.status == 503
      rescue *NO_ANSWER
        nil
      end
      raise "#{method} #{path}: the outcome is unknown; repeat it later with the key #{key}" if now + wait > last

      sleep(wait * rand(0.5..1.0))
      wait = [wait * 2, 2].min
    end
  end

  private

  def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

# Every change committed longer ago is in the answer. nil: nothing is proven.
def bound_ms(response) = response["Tidegate-Freshness"][/\Abound=(\d+)/, 1]&.to_i

$stdout.sync = true
data, sale, admin = ARGV.map { |address| Client.new(address) }

response, price = data.read("/data/product_price/#{ERB::Util.url_encode('42')}")
puts "price: #{price['price_cents']} #{price['currency']}, bound: #{bound_ms(response)} ms"

query = URI.encode_www_form([%w[get product_price/42], %w[get product_price/43], %w[atomic true]])
_, batch = data.read("/data/batch?#{query}")
found = batch["items"].select { |item| item["status"] == 200 }
puts "batch: #{found.map { |item| item['value']['price_cents'] }.join(' ')}"

begin
  data.read("/data/product_price/999999")
rescue Problem => e
  puts "absent: #{e.type}"
end

puts "change the price of 42, commit, and press enter"
$stdin.gets
_, token = admin.send_request("POST", "/api/v1/token") # after the commit
_, price = data.read("/data/product_price/42", after: token["token"])
puts "own write: #{price['price_cents']}"

# Keys are made once for each step of the customer, and stored with the cart.
lines = [{ sku: "A", quantity: 1 }]
hold = sale.change("POST", "/v1/holds", { customer: "c1", lines: lines }, SecureRandom.uuid)
payment = { method: "pm_card", amount: 1999, currency: "EUR" }
order = sale.change("POST", "/v1/checkouts", { hold: hold["hold"], payment: payment }, SecureRandom.uuid)
puts "order: #{order['order']} #{order['amount']} #{order['currency']}"

begin
  lines = [{ sku: "A", quantity: 1000 }]
  sale.change("POST", "/v1/holds", { customer: "c1", lines: lines }, SecureRandom.uuid)
rescue Problem => e
  puts "refused: #{e.type} #{e.body['lines'][0]['available']}"
end
