// connection_test.cpp — a connection whose peer does not read.
#include "gateway/http/connection.hpp"

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/read.hpp>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using net::ip::tcp;
using namespace std::chrono_literals;

class ConnectionTest : public testing::Test {
 protected:
  ConnectionTest() {
    tcp::acceptor acceptor(io_, tcp::endpoint(net::ip::address_v4::loopback(), 0));
    peer_.connect(acceptor.local_endpoint());
    connection_ = make_tcp_connection(acceptor.accept(), 50ms);
  }

  static net::awaitable<void> write(Connection& connection, std::string bytes, IoStatus& status) {
    status = co_await connection.write(bytes);
  }
  IoStatus write(std::string bytes) {
    IoStatus status = IoStatus::kOk;
    net::co_spawn(io_, write(*connection_, std::move(bytes), status), net::detached);
    io_.run();
    return status;
  }
  // What the peer reads until the end, and how it ends.
  std::pair<std::size_t, boost::system::error_code> rest() {
    std::string read;
    boost::system::error_code end;
    net::read(peer_, net::dynamic_buffer(read), end);
    return {read.size(), end};
  }

  net::io_context io_;
  tcp::socket peer_{io_};
  std::unique_ptr<Connection> connection_;
};

constexpr std::size_t kMoreThanTheKernelTakes = std::size_t{64} << 20;

TEST_F(ConnectionTest, APeerThatTakesNothingIsResetAndGetsNoMore) {
  EXPECT_EQ(write(std::string(kMoreThanTheKernelTakes, 'x')), IoStatus::kTimedOut);
  connection_.reset();
  const auto [count, end] = rest();
  EXPECT_EQ(end, net::error::connection_reset);
  EXPECT_LT(count, kMoreThanTheKernelTakes / 2);
}

TEST_F(ConnectionTest, APeerThatTakesItsTimeWithinTheTimeoutGetsAllOfIt) {
  EXPECT_EQ(write("short"), IoStatus::kOk);
  connection_.reset();
  const auto [count, end] = rest();
  EXPECT_EQ(end, net::error::eof);
  EXPECT_EQ(count, 5U);
}

}  // namespace
}  // namespace tessera
