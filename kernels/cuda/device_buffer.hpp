// device_buffer.hpp — device memory that frees itself.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include <cuda_runtime_api.h>

#include "kernels/cuda/cuda_check.hpp"

namespace tessera {

// `size` elements of device memory. Move-only; not thread-safe. Throws CudaError.
template <class T>
  requires std::is_trivially_copyable_v<T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::size_t size) : size_(size) {
    TESSERA_CUDA_CHECK(cudaMalloc(&data_, size * sizeof(T)));
  }
  DeviceBuffer(std::span<const T> host, cudaStream_t stream) : DeviceBuffer(host.size()) {
    TESSERA_CUDA_CHECK(
        cudaMemcpyAsync(data_, host.data(), host.size_bytes(), cudaMemcpyHostToDevice, stream));
  }
  ~DeviceBuffer() { cudaFree(data_); }
  DeviceBuffer(DeviceBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  DeviceBuffer& operator=(DeviceBuffer&&) = delete;

  T* data() { return static_cast<T*>(data_); }
  const T* data() const { return static_cast<const T*>(data_); }
  std::size_t size() const { return size_; }

  // Copies to the host in stream order; the caller synchronises before reading.
  void read(std::span<T> host, cudaStream_t stream) const {
    TESSERA_CUDA_CHECK(
        cudaMemcpyAsync(host.data(), data_, host.size_bytes(), cudaMemcpyDeviceToHost, stream));
  }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// An explicit stream; nothing runs on the default one. Move-only.
class CudaStream {
 public:
  CudaStream() { TESSERA_CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~CudaStream() { cudaStreamDestroy(stream_); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  cudaStream_t get() const { return stream_; }
  void synchronize() { TESSERA_CUDA_CHECK(cudaStreamSynchronize(stream_)); }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace tessera
