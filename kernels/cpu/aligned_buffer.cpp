#include "kernels/cpu/aligned_buffer.hpp"

#include <bit>
#include <charconv>
#include <cstdint>
#include <filesystem>
#include <new>
#include <string>
#include <system_error>

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace tessera {
namespace {

constexpr std::size_t kMaxIdleShare = 5;  // one in so many bytes
constexpr int kMaxMemoryNodes = 64;

std::size_t round_up(std::size_t bytes, std::size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

void* map(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  return memory;
}

// From a multiple of a huge page: what lies before the first one could not become huge. More is
// mapped than is needed, and what sticks out at both ends is given back.
void* map_for_huge_pages(std::size_t bytes) {
  auto* mapped = static_cast<std::byte*>(map(bytes + kHugePageBytes));
  const std::size_t misaligned = reinterpret_cast<std::uintptr_t>(mapped) % kHugePageBytes;
  std::byte* memory = mapped + (kHugePageBytes - misaligned) % kHugePageBytes;
  std::byte* end = memory + round_up(bytes, static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));
  if (memory > mapped) munmap(mapped, static_cast<std::size_t>(memory - mapped));
  munmap(end, static_cast<std::size_t>(mapped + bytes + kHugePageBytes - end));
  madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: failing is fine
  return memory;
}

// A bit for each of the first nodes; none if the kernel does not say.
std::uint64_t memory_nodes() {
  std::uint64_t nodes = 0;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/sys/devices/system/node", error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("node")) continue;
    int node = 0;
    const auto [end, failed] = std::from_chars(name.data() + 4, name.data() + name.size(), node);
    if (failed != std::errc() || end != name.data() + name.size() || node < 0) continue;
    if (node < kMaxMemoryNodes) nodes |= std::uint64_t{1} << node;
  }
  return nodes;
}

}  // namespace

std::size_t mapped_bytes(std::size_t bytes) {
  const std::size_t huge = round_up(bytes, kHugePageBytes);
  return huge - bytes <= huge / kMaxIdleShare ? huge : bytes;
}

void* map_zeroed(std::size_t bytes) {
  const std::size_t mapped = mapped_bytes(bytes);
  return mapped >= kHugePageBytes ? map_for_huge_pages(mapped) : map(mapped);
}

void unmap(void* memory, std::size_t bytes) {
  munmap(memory, mapped_bytes(bytes));
}

void interleave_over_nodes(void* memory, std::size_t bytes) {
  const std::uint64_t nodes = memory_nodes();
  if (std::popcount(nodes) < 2) return;
  syscall(SYS_mbind, memory, bytes, MPOL_INTERLEAVE, &nodes, kMaxMemoryNodes + 1, 0);
}

void discard_pages(void* memory, std::size_t bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(memory);
  const std::size_t first = round_up(begin, page);
  const std::size_t last = (begin + bytes) / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace tessera
