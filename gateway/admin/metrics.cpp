#include "gateway/admin/metrics.hpp"

#include <algorithm>
#include <cstdio>

namespace tessera {
namespace {

void append(std::string& out, std::string_view name, std::string_view labels,
            std::string_view value) {
  out += name;
  out += '{';
  out += labels;
  out += "} ";
  out += value;
  out += '\n';
}

std::string shortest(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%g", value);
  return text.data();
}

}  // namespace

void Histogram::observe(std::chrono::nanoseconds duration) {
  const double seconds = std::chrono::duration<double>(duration).count();
  const auto bucket = std::ranges::lower_bound(kBounds, seconds) - kBounds.begin();
  counts_[static_cast<std::size_t>(bucket)].fetch_add(1, std::memory_order_relaxed);
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
  sum_us_.fetch_add(static_cast<std::uint64_t>(us), std::memory_order_relaxed);
}

void Histogram::write(std::string& out, std::string_view name, std::string_view labels) const {
  const std::string bucket = std::string(name) + "_bucket";
  const std::string prefix = std::string(labels) + ",le=\"";
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    count += counts_[i].load(std::memory_order_relaxed);
    const std::string bound = i < kBounds.size() ? shortest(kBounds[i]) : "+Inf";
    append(out, bucket, prefix + bound + '"', std::to_string(count));
  }
  const double sum = static_cast<double>(sum_us_.load(std::memory_order_relaxed)) * 1e-6;
  append(out, std::string(name) + "_sum", labels, std::to_string(sum));
  append(out, std::string(name) + "_count", labels, std::to_string(count));
}

}  // namespace tessera
