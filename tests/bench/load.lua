-- wrk's side of a measurement: requests in some order, and one line of JSON at the end.
-- Arguments: links, order, file that holds the request with CODE where the code goes.
-- Orders: random, zipf, once (each link in turn), fresh (random, and made for each request: for very many links),
-- listed (the file has the requests themselves, with a NUL behind each).

local links, kind, template
local requests, order, position = {}, {}, 0

local function request_of(n)
   return (template:gsub("CODE", string.format("b%06d", n - 1)))
end

function init(args)
   links, kind = tonumber(args[1]), args[2]
   local file = assert(io.open(args[3], "rb"))
   template = file:read("*a")
   file:close()
   math.randomseed(20260101)
   if kind == "fresh" then return end
   if kind == "listed" then
      for text in template:gmatch("%Z+") do
         requests[#requests + 1] = text
         order[#order + 1] = #requests
      end
      return
   end
   for n = 1, links do
      requests[n] = request_of(n)
   end
   if kind == "once" then
      for n = 1, links do order[n] = n end
   elseif kind == "zipf" then
      -- Rank r is drawn in proportion to 1/r.
      local sums, sum = {}, 0
      for n = 1, links do sum = sum + 1 / n; sums[n] = sum end
      for i = 1, 200000 do
         local wanted, low, high = math.random() * sum, 1, links
         while low < high do
            local middle = math.floor((low + high) / 2)
            if sums[middle] < wanted then low = middle + 1 else high = middle end
         end
         order[i] = low
      end
   else
      for i = 1, 200000 do order[i] = math.random(links) end
   end
end

function request()
   if kind == "fresh" then return request_of(math.random(links)) end
   position = position + 1
   if position > #order then position = 1 end
   return requests[order[position]]
end

function done(summary, latency)
   local errors = summary.errors
   print(string.format(
      '{"requests": %d, "seconds": %.6f, "p50_ms": %.4f, "p99_ms": %.4f, "errors": %d}',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
