-- Walks through the requests of a file, one after the other, and says in one
-- line at the end what was measured. A line of the file is a path, a tab and a
-- header field.

local threads = {}

function setup(thread)
	thread:set("id", #threads)
	threads[#threads + 1] = thread
end

function init(args)
	local host = wrk.host .. ":" .. wrk.port
	requests = {}
	for line in io.lines(args[1]) do
		local path, field = line:match("^([^\t]*)\t(.*)$")
		if field ~= "" then
			field = field .. "\r\n"
		end
		requests[#requests + 1] = "GET " .. path .. " HTTP/1.1\r\nHost: " .. host .. "\r\n" .. field .. "\r\n"
	end
	-- Each thread begins at another place.
	at = math.floor(#requests * id / tonumber(args[2]))
	ready = os.clock()
end

function request()
	at = at % #requests + 1
	return requests[at]
end

function done(summary, latency, _)
	local e = summary.errors
	-- CPU time of the process, without that for reading the file.
	local ready = 0
	for _, thread in ipairs(threads) do
		ready = math.max(ready, thread:get("ready"))
	end
	io.write(string.format(
		"result: requests=%d bytes=%d microseconds=%d cpu=%d status=%d connect=%d read=%d write=%d timeout=%d p50=%d p90=%d p99=%d\n",
		summary.requests, summary.bytes, summary.duration, (os.clock() - ready) * 1e6, e.status, e.connect, e.read, e.write, e.timeout,
		latency:percentile(50), latency:percentile(90), latency:percentile(99)))
end
