// aligned_buffer.hpp — zeroed memory for arrays that kernels stream through.
//
// Mapped from the kernel, so it is page-aligned, costs nothing until touched, and large arrays may
// get huge pages, which a stream of weights needs to reach the memory's speed.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace tessera {

// Bytes; throws std::bad_alloc. Use AlignedBuffer.
void* map_zeroed(std::size_t bytes);
void unmap(void* memory, std::size_t bytes);

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

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace tessera
