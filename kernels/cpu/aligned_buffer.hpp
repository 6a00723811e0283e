// aligned_buffer.hpp — zeroed memory for arrays that kernels stream through.
//
// Mapped from the kernel, so it is page-aligned, costs nothing until touched, and arrays of a huge
// page or more, or nearly one, ask for huge pages: a stream of weights needs them to reach the
// memory's speed, and touching a small page for the first time costs more than reading a file into
// it. An array that fills a whole number of huge pages up to a fifth is mapped as that many.
//
// Memory nodes: the kernel takes a page from the node of the thread that touches it first. Weights
// are repacked by the thread that will read them (TiledMatrix and CpuBackend both deal tiles by
// part_of), so with pinned threads they lie where they are read, with no library to ask for it.
#pragma once

#include <cassert>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace tessera {

inline constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;

// What an array of so many bytes takes of memory once all of it was touched, up to a small page.
std::size_t mapped_bytes(std::size_t bytes);

// Bytes; throws std::bad_alloc. Use AlignedBuffer.
void* map_zeroed(std::size_t bytes);
void unmap(void* memory, std::size_t bytes);

// Takes mapped memory that nobody has touched from all memory nodes in turn, as it is touched; a
// wish, and nothing where there is one node.
void interleave_over_nodes(void* memory, std::size_t bytes);
// Gives the whole pages of a part of mapped memory back: they are zero when next touched.
void discard_pages(void* memory, std::size_t bytes);

// Move-only. Not resizable.
template <class T>
class AlignedBuffer {
 public:
  static_assert(std::is_trivially_copyable_v<T>);

  AlignedBuffer() = default;
  explicit AlignedBuffer(std::size_t size)
      : data_(size == 0 ? nullptr : static_cast<T*>(map_zeroed(size * sizeof(T)))), size_(size) {}
  ~AlignedBuffer() {
    if (data_ != nullptr) unmap(data_, size_ * sizeof(T));
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  // The same memory, and what is in it, for another number of elements that takes as much of it
  // (mapped_bytes).
  AlignedBuffer resized(std::size_t size) && {
    assert(size > 0 && mapped_bytes(size * sizeof(T)) == footprint());
    AlignedBuffer other = std::move(*this);
    other.size_ = size;
    return other;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t footprint() const { return mapped_bytes(size_ * sizeof(T)); }  // bytes of memory

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace tessera
