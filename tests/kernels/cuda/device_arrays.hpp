// device_arrays.hpp — vectors that go to a device and come back, for tests of kernels.
//
// Buffers that kernels shall write are full of 0xFF first, a NaN in every format: what nobody wrote
// is seen.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/cuda/device.hpp"

#if defined(TESSERA_CUDA_EMULATED)
#include "kernels/cuda/emulation/machine.hpp"
#endif

namespace tessera {

inline constexpr std::uint8_t kPoison = 0xFF;

template <class T>
DeviceBuffer<T> poisoned(CudaStream& stream, std::size_t size) {
  DeviceBuffer<T> buffer(size);
  stream.fill(buffer.data(), kPoison, buffer.bytes());
  return buffer;
}

template <class T>
DeviceBuffer<T> to_device(CudaStream& stream, const std::vector<T>& values) {
  DeviceBuffer<T> buffer(values.size());
  stream.copy_to_device(buffer.data(), values.data(), buffer.bytes());
  stream.synchronize();
  return buffer;
}

template <class T>
std::vector<T> to_host(CudaStream& stream, const DeviceBuffer<T>& buffer) {
  std::vector<T> values(buffer.size());
  stream.copy_to_host(values.data(), buffer.data(), buffer.bytes());
  stream.synchronize();
  return values;
}

// Owns arrays whose addresses stand in structs of device memory.
class DeviceArrays {
 public:
  explicit DeviceArrays(CudaStream& stream) : stream_(stream) {}

  // Null for an empty vector.
  template <class T>
  const T* keep(const std::vector<T>& values) {
    const auto* bytes = reinterpret_cast<const std::byte*>(values.data());
    buffers_.push_back(
        to_device(stream_, std::vector<std::byte>(bytes, bytes + values.size() * sizeof(T))));
    return reinterpret_cast<const T*>(buffers_.back().data());
  }

 private:
  CudaStream& stream_;
  std::vector<DeviceBuffer<std::byte>> buffers_;
};

// Calls run() as often as the machine has orders to run threads and blocks in; a device has one.
template <class Run>
void in_every_order(const Run& run) {
#if defined(TESSERA_CUDA_EMULATED)
  const emulation::Schedule before = emulation::schedule();
  for (const auto order :
       {emulation::Order::kAscending, emulation::Order::kDescending, emulation::Order::kRandom}) {
    emulation::set_schedule({order, 7, kPoison});
    run();
  }
  emulation::set_schedule(before);
#else
  run();
#endif
}

}  // namespace tessera
