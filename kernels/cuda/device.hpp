// device.hpp — the thin seam between the backend and a device: memory, streams, events, graphs.
//
// Two implementations, chosen by what is linked: device.cpp is CUDA's, emulation/device.cpp the
// emulated machine's, on which CI runs the whole backend. Every class is move-only or pinned to its
// place, frees what it owns, and throws CudaError; nothing here runs on the default stream. Not
// thread-safe, but that several streams may be used by several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace tessera {

// The driver or the device failed. A failed call leaves the device in an unknown state, so nobody
// recovers from it on the spot: it is caught once, at the top of the engine thread.
class CudaError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct DeviceMemory {
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
};
int num_devices() noexcept;  // 0 where there is no driver either
DeviceMemory device_memory();
int num_multiprocessors();
std::size_t shared_bytes_of_block();  // that a launch may ask for
std::string device_name();

// Raw memory; the buffers below own it. Of 256-byte alignment; size 0 gives null.
void* allocate_on_device(std::size_t bytes);
void free_on_device(void* memory) noexcept;
void* allocate_pinned(std::size_t bytes);  // host memory that copies run from without staging
void free_pinned(void* memory) noexcept;

// `size` elements of device memory.
template <class T>
requires std::is_trivially_copyable_v<T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::size_t size)
      : data_(static_cast<T*>(allocate_on_device(size * sizeof(T)))), size_(size) {}
  ~DeviceBuffer() { free_on_device(data_); }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return size_ * sizeof(T); }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

// The same of pinned host memory.
template <class T>
requires std::is_trivially_copyable_v<T>
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(std::size_t size)
      : data_(static_cast<T*>(allocate_pinned(size * sizeof(T)))), size_(size) {}
  ~PinnedBuffer() { free_pinned(data_); }
  PinnedBuffer(PinnedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  T* data() { return data_; }
  std::span<T> span() { return {data_, size_}; }
  std::size_t size() const { return size_; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

class CudaStream;

// A point in a stream's work.
class CudaEvent {
 public:
  CudaEvent();
  ~CudaEvent();
  CudaEvent(CudaEvent&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  CudaEvent& operator=(CudaEvent&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  bool is_reached() const;  // does not wait; true if never recorded
  void synchronize();

  void* handle() const { return handle_; }

 private:
  void* handle_ = nullptr;
};

// Work of a step, kept so that one call starts all of it.
class CudaGraph {
 public:
  CudaGraph() = default;
  explicit CudaGraph(void* handle) : handle_(handle) {}
  ~CudaGraph();
  CudaGraph(CudaGraph&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  CudaGraph& operator=(CudaGraph&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  explicit operator bool() const { return handle_ != nullptr; }
  void* handle() const { return handle_; }

 private:
  void* handle_ = nullptr;
};

// An ordered queue of work. Copies are asynchronous: host memory given to them is left alone, and
// not read, until the stream has come so far.
class CudaStream {
 public:
  CudaStream();
  ~CudaStream();
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  void copy_to_device(void* device, const void* host, std::size_t bytes);
  void copy_to_host(void* host, const void* device, std::size_t bytes);
  void fill(void* device, std::uint8_t byte, std::size_t bytes);

  void record(CudaEvent& event);
  void wait(const CudaEvent& event);  // the stream waits, the caller does not
  void synchronize();

  // What is enqueued from begin_capture() on becomes the graph instead of being run.
  void begin_capture();
  CudaGraph end_capture();
  void launch(const CudaGraph& graph);

  void* handle() const { return handle_; }

 private:
  void* handle_ = nullptr;
};

// A whole span to device memory of the same size.
template <class T>
void copy(CudaStream& stream, DeviceBuffer<T>& to, std::span<const T> from) {
  stream.copy_to_device(to.data(), from.data(), from.size_bytes());
}

}  // namespace tessera
