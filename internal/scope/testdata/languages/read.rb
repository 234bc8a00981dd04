# Reads hexadecimal queries, one a line, and prints how Rack reads the parameter
# id of each.
require 'json'
require 'rack'

def hex(value)
  value.is_a?(String) ? value.unpack1('H*') : nil
end

def read(query)
  { 'parse_nested_query' => hex(Rack::Utils.parse_nested_query(query)['id']), 'parse_query' => hex(Rack::Utils.parse_query(query)['id']) }
rescue StandardError
  { 'an error' => nil }
end

STDIN.each_line { |line| puts JSON.generate(read([line.strip].pack('H*'))) }
