-- chat.lua — wrk: the same chat again and again, with the next key each time.
local keys, requests, next_request = {}, {}, 0

function init()
  for key in io.lines(os.getenv("BENCH_KEYS")) do keys[#keys + 1] = key end
  for index = 1, #keys do
    requests[index] = wrk.format("POST", nil, {
      ["Authorization"] = "Bearer " .. keys[index],
      ["Content-Type"] = "application/json",
    }, os.getenv("BENCH_BODY"))
  end
end

function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end
