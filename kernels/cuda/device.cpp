// device.cpp — device.hpp by the CUDA runtime.
#include "kernels/cuda/device.hpp"

#include <cuda_runtime_api.h>

#include "kernels/cuda/cuda_check.hpp"

namespace tessera {
namespace {

cudaStream_t stream_of(const CudaStream& stream) {
  return static_cast<cudaStream_t>(stream.handle());
}
cudaEvent_t event_of(const CudaEvent& event) {
  return static_cast<cudaEvent_t>(event.handle());
}
cudaGraphExec_t graph_of(const CudaGraph& graph) {
  return static_cast<cudaGraphExec_t>(graph.handle());
}

int current_device() {
  int device = 0;
  TESSERA_CUDA_CHECK(cudaGetDevice(&device));
  return device;
}

}  // namespace

int num_devices() noexcept {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

DeviceMemory device_memory() {
  DeviceMemory memory;
  TESSERA_CUDA_CHECK(cudaMemGetInfo(&memory.free_bytes, &memory.total_bytes));
  return memory;
}

int num_multiprocessors() {
  int count = 0;
  TESSERA_CUDA_CHECK(
      cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, current_device()));
  return count;
}

std::size_t shared_bytes_of_block() {
  static const int bytes = [] {
    int most = 0;
    TESSERA_CUDA_CHECK(
        cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, current_device()));
    return most;
  }();
  return static_cast<std::size_t>(bytes);
}

std::string device_name() {
  cudaDeviceProp properties{};
  TESSERA_CUDA_CHECK(cudaGetDeviceProperties(&properties, current_device()));
  return properties.name;
}

void* allocate_on_device(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  void* memory = nullptr;
  TESSERA_CUDA_CHECK(cudaMalloc(&memory, bytes));
  return memory;
}
void free_on_device(void* memory) noexcept {
  cudaFree(memory);
}

void* allocate_pinned(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  void* memory = nullptr;
  TESSERA_CUDA_CHECK(cudaMallocHost(&memory, bytes));
  return memory;
}
void free_pinned(void* memory) noexcept {
  cudaFreeHost(memory);
}

CudaEvent::CudaEvent() {
  cudaEvent_t event = nullptr;
  TESSERA_CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  handle_ = event;
}
CudaEvent::~CudaEvent() {
  if (handle_ != nullptr) cudaEventDestroy(event_of(*this));
}
bool CudaEvent::is_reached() const {
  const cudaError_t state = cudaEventQuery(event_of(*this));
  if (state == cudaErrorNotReady) return false;
  check_cuda(state, "cudaEventQuery");
  return true;
}
void CudaEvent::synchronize() {
  TESSERA_CUDA_CHECK(cudaEventSynchronize(event_of(*this)));
}

CudaGraph::~CudaGraph() {
  if (handle_ != nullptr) cudaGraphExecDestroy(graph_of(*this));
}

CudaStream::CudaStream() {
  cudaStream_t stream = nullptr;
  TESSERA_CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  handle_ = stream;
}
CudaStream::~CudaStream() {
  cudaStreamDestroy(stream_of(*this));
}

void CudaStream::copy_to_device(void* device, const void* host, std::size_t bytes) {
  if (bytes == 0) return;
  TESSERA_CUDA_CHECK(
      cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_of(*this)));
}
void CudaStream::copy_to_host(void* host, const void* device, std::size_t bytes) {
  if (bytes == 0) return;
  TESSERA_CUDA_CHECK(
      cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_of(*this)));
}
void CudaStream::fill(void* device, std::uint8_t byte, std::size_t bytes) {
  if (bytes == 0) return;
  TESSERA_CUDA_CHECK(cudaMemsetAsync(device, byte, bytes, stream_of(*this)));
}

void CudaStream::record(CudaEvent& event) {
  TESSERA_CUDA_CHECK(cudaEventRecord(event_of(event), stream_of(*this)));
}
void CudaStream::wait(const CudaEvent& event) {
  TESSERA_CUDA_CHECK(cudaStreamWaitEvent(stream_of(*this), event_of(event), 0));
}
void CudaStream::synchronize() {
  TESSERA_CUDA_CHECK(cudaStreamSynchronize(stream_of(*this)));
}

void CudaStream::begin_capture() {
  TESSERA_CUDA_CHECK(cudaStreamBeginCapture(stream_of(*this), cudaStreamCaptureModeThreadLocal));
}
CudaGraph CudaStream::end_capture() {
  cudaGraph_t graph = nullptr;
  TESSERA_CUDA_CHECK(cudaStreamEndCapture(stream_of(*this), &graph));
  cudaGraphExec_t instance = nullptr;
  const cudaError_t made = cudaGraphInstantiate(&instance, graph, 0);
  cudaGraphDestroy(graph);
  check_cuda(made, "cudaGraphInstantiate");
  return CudaGraph(instance);
}
void CudaStream::launch(const CudaGraph& graph) {
  TESSERA_CUDA_CHECK(cudaGraphLaunch(graph_of(graph), stream_of(*this)));
}

}  // namespace tessera
