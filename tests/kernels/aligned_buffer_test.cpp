#include "kernels/cpu/aligned_buffer.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

#include <unistd.h>

#include <gtest/gtest.h>

namespace tessera {
namespace {

std::uintptr_t address_of(const void* memory) {
  return reinterpret_cast<std::uintptr_t>(memory);
}

// The flags of the mapping that holds `memory`, as /proc/self/smaps tells them: "rd wr ... hg".
std::string kernel_flags_of(const void* memory) {
  std::ifstream smaps("/proc/self/smaps");
  bool is_ours = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long begin = 0;
    unsigned long end = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      is_ours = begin <= address_of(memory) && address_of(memory) < end;
    }
    if (is_ours && line.starts_with("VmFlags:")) return line + " ";
  }
  return {};
}

TEST(AlignedBuffer, IsZeroedWritableToItsEndAndMovable) {
  for (const std::size_t size : {std::size_t{1}, kHugePageBytes - 1, kHugePageBytes,
                                 kHugePageBytes + 1, 3 * kHugePageBytes + 4097}) {
    AlignedBuffer<char> buffer(size);
    ASSERT_EQ(buffer.size(), size);
    EXPECT_EQ(buffer.data()[0], 0);
    EXPECT_EQ(buffer.data()[size - 1], 0);
    buffer.data()[size - 1] = 7;
    const AlignedBuffer<char> moved = std::move(buffer);
    EXPECT_EQ(moved.data()[size - 1], 7);
  }
}

TEST(AlignedBuffer, OfAHugePageOrMoreBeginsAtOneAndAsksForThem) {
  if (!std::ifstream("/sys/kernel/mm/transparent_hugepage/enabled")) {
    GTEST_SKIP() << "this kernel has no huge pages to ask for";
  }
  for (const std::size_t size : {kHugePageBytes * 5 / 6, kHugePageBytes, 5 * kHugePageBytes / 2}) {
    const AlignedBuffer<char> buffer(size);
    EXPECT_EQ(address_of(buffer.data()) % kHugePageBytes, 0U);
    EXPECT_NE(kernel_flags_of(buffer.data()).find(" hg "), std::string::npos) << size;
    EXPECT_NE(kernel_flags_of(buffer.data() + size - 1).find(" hg "), std::string::npos) << size;
  }
}

TEST(AlignedBuffer, OfNearlyWholeHugePagesTakesTheWhole) {
  const AlignedBuffer<char> nearly(kHugePageBytes - kHugePageBytes / 6);
  EXPECT_EQ(nearly.footprint(), kHugePageBytes);
  const AlignedBuffer<char> some(3 * kHugePageBytes - 100);
  EXPECT_EQ(some.footprint(), 3 * kHugePageBytes);
  const AlignedBuffer<char> odd(kHugePageBytes + 12345);
  EXPECT_EQ(odd.footprint(), kHugePageBytes + 12345);
}

TEST(AlignedBuffer, BelowAHugePageDoesNotAskForOne) {
  const AlignedBuffer<char> buffer(kHugePageBytes * 3 / 4);
  EXPECT_EQ(kernel_flags_of(buffer.data()).find(" hg "), std::string::npos);
}

TEST(AlignedBuffer, GivesBackAllItMapped) {
  const auto mapped_pages = [] {
    std::size_t pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    return pages;
  };
  { const AlignedBuffer<char> first(2 * kHugePageBytes); }
  const std::size_t before = mapped_pages();
  for (int i = 0; i < 100; ++i) {
    const AlignedBuffer<char> odd(kHugePageBytes + 12345);
    const AlignedBuffer<char> nearly(kHugePageBytes - 12345);
  }
  EXPECT_EQ(mapped_pages(), before);
}

TEST(AlignedBuffer, DiscardsTheWholePagesOfAPart) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  AlignedBuffer<char> buffer(2 * kHugePageBytes);
  interleave_over_nodes(buffer.data(), buffer.size());
  std::memset(buffer.data(), 'x', buffer.size());
  discard_pages(buffer.data() + 1, 3 * page);
  EXPECT_EQ(buffer.data()[page - 1], 'x');
  EXPECT_EQ(buffer.data()[page], 0);
  EXPECT_EQ(buffer.data()[3 * page - 1], 0);
  EXPECT_EQ(buffer.data()[3 * page], 'x');
  discard_pages(buffer.data() + 4 * page + 1, page);  // no whole page
  EXPECT_EQ(std::count(buffer.data() + 3 * page, buffer.data() + buffer.size(), 'x'),
            static_cast<std::ptrdiff_t>(buffer.size() - 3 * page));
}

}  // namespace
}  // namespace tessera
