#include "kernels/cuda/token_drawer.hpp"

#include <algorithm>
#include <cstring>

namespace tessera {
namespace {

constexpr std::size_t kAlignment = 16;
constexpr std::size_t kListBytes = std::size_t{1} << 20;  // of all rows' lists together

std::size_t aligned(std::size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}
std::size_t words_of(int vocab_size) {
  return (static_cast<std::size_t>(vocab_size) + 63) / 64;
}
std::size_t sent_bytes(int max_rows, int vocab_size) {
  const auto rows = static_cast<std::size_t>(max_rows);
  return aligned(rows * sizeof(SampleRow)) + kListBytes +
         aligned(rows * words_of(vocab_size) * sizeof(std::uint64_t));
}
std::size_t area(int rows, int cols) {
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
}

}  // namespace

TokenDrawer::TokenDrawer(int max_rows, int vocab_size)
    : max_rows_(vocab_size <= kMaxDrawnVocab ? max_rows : 0),
      vocab_size_(vocab_size),
      mask_words_(words_of(vocab_size)),
      capacity_(sent_bytes(max_rows_, vocab_size)),
      staged_(capacity_),
      sent_(capacity_),
      adjusted_(area(max_rows_, vocab_size)),
      sampled_(static_cast<std::size_t>(max_rows_)),
      drawn_(static_cast<std::size_t>(max_rows_)) {
  sample_rows_.reserve(static_cast<std::size_t>(max_rows_));
}

std::size_t TokenDrawer::device_bytes(int max_rows, int vocab_size) {
  return sent_bytes(max_rows, vocab_size) + area(max_rows, vocab_size) * sizeof(float) +
         static_cast<std::size_t>(max_rows) * sizeof(DrawnToken);
}

bool TokenDrawer::fits(std::span<const DrawRow> rows) const {
  if (rows.size() > static_cast<std::size_t>(max_rows_)) return false;
  std::size_t lists = 3 * kAlignment;
  for (const DrawRow& row : rows) {
    if (row.params.num_logprobs > kMaxTopLogits) return false;
    lists += row.seen.size_bytes() + row.biases.size_bytes() + row.banned.size_bytes();
  }
  return lists <= kListBytes;
}

// The rows come first, then each list of all rows together; one list behind the other.
SamplerCall TokenDrawer::write(std::span<const DrawRow> rows) {
  used_ = aligned(rows.size() * sizeof(SampleRow));
  sample_rows_.clear();
  for (const DrawRow& row : rows) sample_rows_.push_back({.params = row.params, .row = row.row});
  // Returns where the list lies on the device; tell(row, begin, end) learns its part.
  const auto append = [&]<class T>(std::span<const T> DrawRow::*list, const auto& tell) {
    std::byte* const begin = staged_.data() + used_;
    const auto* on_device = reinterpret_cast<const T*>(sent_.data() + used_);
    std::size_t count = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::span<const T> part = rows[i].*list;
      if (!part.empty()) std::memcpy(begin + count * sizeof(T), part.data(), part.size_bytes());
      tell(sample_rows_[i], static_cast<std::int32_t>(count),
           static_cast<std::int32_t>(count + part.size()));
      count += part.size();
    }
    used_ += aligned(count * sizeof(T));
    return on_device;
  };
  SamplerCall call;
  call.lists.seen =
      append(&DrawRow::seen, [](SampleRow& row, std::int32_t begin, std::int32_t end) {
        row.seen_begin = begin;
        row.seen_end = end;
      });
  call.lists.biases =
      append(&DrawRow::biases, [](SampleRow& row, std::int32_t begin, std::int32_t end) {
        row.bias_begin = begin;
        row.bias_end = end;
      });
  call.lists.banned =
      append(&DrawRow::banned, [](SampleRow& row, std::int32_t begin, std::int32_t end) {
        row.banned_begin = begin;
        row.banned_end = end;
      });
  const auto words = static_cast<std::int32_t>(mask_words_);
  call.lists.masks =
      append(&DrawRow::mask, [words](SampleRow& row, std::int32_t begin, std::int32_t end) {
        row.mask = begin == end ? -1 : begin / words;
      });
  std::memcpy(staged_.data(), sample_rows_.data(), sample_rows_.size() * sizeof(SampleRow));
  call.rows = reinterpret_cast<const SampleRow*>(sent_.data());
  call.num_rows = static_cast<int>(rows.size());
  return call;
}

// The last draw was waited for, so nothing reads what is staged any more.
std::span<const DrawnToken> TokenDrawer::draw(std::span<const DrawRow> rows, const float* logits,
                                              CudaStream& stream) {
  if (rows.empty() || !fits(rows)) return {};
  SamplerCall call = write(rows);
  call.logits = logits;
  call.vocab_size = vocab_size_;
  call.adjusted = adjusted_.data();
  call.sampled = sampled_.data();
  stream.copy_to_device(sent_.data(), staged_.data(), used_);
  sample(stream, call);
  stream.copy_to_host(drawn_.data(), sampled_.data(), rows.size() * sizeof(DrawnToken));
  stream.synchronize();
  return drawn_.span().first(rows.size());
}

}  // namespace tessera
