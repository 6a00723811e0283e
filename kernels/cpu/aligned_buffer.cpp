#include "kernels/cpu/aligned_buffer.hpp"

#include <new>

#include <sys/mman.h>

namespace tessera {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace

void* map_zeroed(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  if (bytes >= kHugePage) madvise(memory, bytes, MADV_HUGEPAGE);  // a wish: failing is fine
  return memory;
}

void unmap(void* memory, std::size_t bytes) {
  munmap(memory, bytes);
}

}  // namespace tessera
