// server_proxy.cpp — Server: the header that the connections of some proxies begin with.
#include <memory>
#include <string>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "gateway/http/proxy_protocol.hpp"
#include "gateway/http/server.hpp"

namespace tessera {
namespace {

constexpr auto kTuple = net::as_tuple(net::use_awaitable);

// The header that a proxy's connection begins with. Errors: kInvalidValue, kIo.
net::awaitable<Result<std::string>> read_proxied_address(net::ip::tcp::socket& socket) {
  const Error broken_off{Code::kIo, "no header of the PROXY protocol"};
  std::string head(kProxyHeadBytes, '\0');
  auto [no_head, head_bytes] = co_await net::async_read(socket, net::buffer(head), kTuple);
  if (no_head) co_return broken_off;
  const Result<std::size_t> size = proxy_rest_bytes(head);
  if (!size) co_return size.error();
  std::string rest(*size, '\0');
  auto [no_rest, rest_bytes] = co_await net::async_read(socket, net::buffer(rest), kTuple);
  if (no_rest) co_return broken_off;
  co_return proxied_address(head, rest);
}

}  // namespace

// Before anything else of such a proxy's connection. Tells the client's address, and takes the
// client's place instead of the proxy's; false if the connection is of no use.
net::awaitable<bool> Server::read_proxy_header(net::ip::tcp::socket& socket, std::string& address,
                                               Place& place) {
  const auto waiting = std::make_shared<bool>(true);
  net::steady_timer timer(socket.get_executor(), policy_.head_timeout);
  timer.async_wait([&socket, waiting](const boost::system::error_code& cancelled) {
    boost::system::error_code ignored;
    if (!cancelled && *waiting) socket.cancel(ignored);
  });
  const Result<std::string> client = co_await read_proxied_address(socket);
  *waiting = false;
  timer.cancel();
  if (!client) co_return false;
  if (client->empty()) co_return true;  // the proxy's own
  address = *client;
  place = nullptr;
  place = place_of(address);
  co_return place != nullptr;
}

}  // namespace tessera
