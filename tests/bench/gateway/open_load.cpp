#include "tests/bench/gateway/open_load.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <stdexcept>
#include <string_view>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace tessera {
namespace {

using SteadyClock = std::chrono::steady_clock;
using Time = SteadyClock::time_point;

constexpr std::size_t kReadBytes = 64 * 1024;
constexpr int kEventsAtOnce = 256;
constexpr std::chrono::seconds kPatience{10};  // for the last answers

std::runtime_error failure(const char* what) {
  return std::runtime_error(std::string(what) + ": " + std::strerror(errno));
}

// The length of the first whole answer in `received`; 0 if it has not come.
std::size_t answer_length(std::string_view received) {
  const std::size_t head = received.find("\r\n\r\n");
  if (head == received.npos) return 0;
  constexpr std::string_view kName = "\r\ncontent-length:";
  const auto begin = received.begin();
  const auto lower = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; };
  const auto found = std::search(begin, begin + static_cast<std::ptrdiff_t>(head), kName.begin(),
                                 kName.end(), lower);
  std::size_t length = 0;
  for (auto at = found + static_cast<std::ptrdiff_t>(kName.size()); *at != '\r'; ++at) {
    if (*at >= '0' && *at <= '9') length = length * 10 + static_cast<std::size_t>(*at - '0');
  }
  return received.size() >= head + 4 + length ? head + 4 + length : 0;
}

struct Link {
  int socket = -1;
  bool busy = false;
  Time due;
  std::string received;
};

class Load {
 public:
  explicit Load(const LoadPlan& plan) : plan_(plan), links_(count()) {
    epoll_ = epoll_create1(0);
    if (epoll_ < 0) throw failure("epoll");
    for (std::size_t i = 0; i < links_.size(); ++i) connect(i);
  }
  ~Load() {
    for (const Link& link : links_) ::close(link.socket);
    ::close(epoll_);
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  LoadReport run() {
    const Time start = SteadyClock::now();
    counted_from_ = start + plan_.warm_up;
    const Time end = counted_from_ + plan_.measured;
    const std::chrono::duration<double> gap(1.0 / plan_.rate);
    std::int64_t next = 0;
    Time due = start;
    while (num_busy_ > 0 || !waiting_.empty() || due < end) {
      const Time now = SteadyClock::now();
      for (; due <= now && due < end; ++next) {
        waiting_.push_back(due);
        due = start + std::chrono::duration_cast<SteadyClock::duration>(
                          gap * static_cast<double>(next + 1));
      }
      while (!waiting_.empty() && !idle_.empty()) send_next();
      if (now > end + kPatience) throw std::runtime_error("the last answers have not come");
      wait(due < end ? due - now : std::chrono::milliseconds(10));
    }
    std::ranges::sort(report_.micros);
    report_.num_answers = std::ssize(report_.micros);
    report_.seconds = std::chrono::duration<double>(SteadyClock::now() - counted_from_).count();
    return std::move(report_);
  }

 private:
  std::size_t count() const { return static_cast<std::size_t>(plan_.num_connections); }

  void connect(std::size_t index) {
    Link& link = links_[index];
    link.socket = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(plan_.port);
    inet_pton(AF_INET, plan_.host.c_str(), &address.sin_addr);
    if (::connect(link.socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      throw failure("connect");
    }
    const int on = 1;
    setsockopt(link.socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(link.socket, F_SETFL, O_NONBLOCK);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = index;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, link.socket, &event);
    idle_.push_back(index);
  }

  std::string next_request() {
    std::string text = plan_.method + " " + plan_.path + " HTTP/1.1\r\nHost: " + plan_.host;
    if (!plan_.keys.empty()) {
      text += "\r\nAuthorization: Bearer " + plan_.keys[next_key_++ % plan_.keys.size()];
    }
    if (!plan_.body.empty()) {
      text += "\r\nContent-Type: application/json\r\nContent-Length: " +
              std::to_string(plan_.body.size());
    }
    return text + "\r\n\r\n" + plan_.body;
  }

  void send_next() {
    Link& link = links_[idle_.front()];
    const std::string request = next_request();
    if (::send(link.socket, request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size())) {
      reconnect(idle_.front());
      return;
    }
    idle_.pop_front();
    link.busy = true;
    link.due = waiting_.front();
    waiting_.pop_front();
    ++num_busy_;
  }

  void reconnect(std::size_t index) {
    ++report_.num_broken;
    Link& link = links_[index];
    if (link.busy) --num_busy_;
    std::erase(idle_, index);
    ::close(link.socket);
    link = {};
    connect(index);
  }

  void wait(SteadyClock::duration time) {
    const std::int64_t longest = plan_.sleeps ? 10'000'000 : 0;
    const auto nanos = std::clamp<std::int64_t>(std::chrono::nanoseconds(time).count(), 0, longest);
    const timespec patience{.tv_sec = 0, .tv_nsec = nanos};
    epoll_event events[kEventsAtOnce];
    const int count = epoll_pwait2(epoll_, events, kEventsAtOnce, &patience, nullptr);
    for (int i = 0; i < count; ++i) receive(events[i].data.u64);
  }

  void receive(std::size_t index) {
    Link& link = links_[index];
    char buffer[kReadBytes];
    const ssize_t size = ::recv(link.socket, buffer, sizeof buffer, 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) return reconnect(index);
    link.received.append(buffer, static_cast<std::size_t>(size));
    if (!link.busy || answer_length(link.received) == 0) return;
    if (link.due >= counted_from_) note(link);
    link.received.clear();
    link.busy = false;
    --num_busy_;
    idle_.push_back(index);
  }

  void note(const Link& link) {
    const std::chrono::duration<double, std::micro> latency = SteadyClock::now() - link.due;
    report_.micros.push_back(latency.count());
    if (!link.received.starts_with("HTTP/1.1 200")) ++report_.num_refused;
  }

  const LoadPlan& plan_;
  std::vector<Link> links_;
  std::deque<std::size_t> idle_;
  std::deque<Time> waiting_;  // when each request that is not sent yet was due
  int epoll_ = -1;
  int num_busy_ = 0;
  std::size_t next_key_ = 0;
  Time counted_from_;
  LoadReport report_;
};

}  // namespace

LoadReport run_load(const LoadPlan& plan) {
  return Load(plan).run();
}

}  // namespace tessera
