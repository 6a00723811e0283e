// device.cpp — device.hpp on the emulated machine.
#include "kernels/cuda/emulation/device.hpp"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <new>
#include <vector>

#include "kernels/cuda/emulation/machine.hpp"

namespace tessera {
namespace {

using Work = std::function<void()>;
constexpr std::size_t kTotalBytes = std::size_t{1} << 30;

// Outlives the stream while events point to it.
struct Queue {
  std::deque<Work> work;
  std::uint64_t num_enqueued = 0;
  std::uint64_t num_done = 0;
  bool is_capturing = false;
  std::vector<Work> captured;

  void run_until(std::uint64_t count) {
    while (num_done < count) {
      const Work next = std::move(work.front());
      work.pop_front();
      ++num_done;
      next();
    }
  }
};
using Shared = std::shared_ptr<Queue>;

struct Point {
  Shared queue;
  std::uint64_t count = 0;

  void reach() const {
    if (queue) queue->run_until(count);
  }
};
using Captured = std::vector<Work>;

Shared& queue_of(const CudaStream& stream) {
  return *static_cast<Shared*>(stream.handle());
}
Point& point_of(const CudaEvent& event) {
  return *static_cast<Point*>(event.handle());
}

void push(CudaStream& stream, Work work) {
  Queue& queue = *queue_of(stream);
  if (queue.is_capturing) {
    queue.captured.push_back(std::move(work));
    return;
  }
  queue.work.push_back(std::move(work));
  ++queue.num_enqueued;
}

}  // namespace

void emulation::enqueue(CudaStream& stream, Work work) {
  push(stream, std::move(work));
}

int num_devices() noexcept {
  return 1;
}

DeviceMemory device_memory() {
  return {kTotalBytes - emulation::device_bytes_in_use(), kTotalBytes};
}
int num_multiprocessors() {
  return 3;  // few and odd, so that persistent grids have work left over
}
std::size_t shared_bytes_of_block() {
  return emulation::kMaxSharedBytes;
}
std::string device_name() {
  return "emulated";
}

void* allocate_on_device(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  if (bytes > device_memory().free_bytes) throw CudaError("out of memory");
  return emulation::allocate_device(bytes);
}
void free_on_device(void* memory) noexcept {
  emulation::free_device(memory);
}
void* allocate_pinned(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  void* memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, emulation::schedule().poison, bytes);
  return memory;
}
void free_pinned(void* memory) noexcept {
  std::free(memory);
}

CudaEvent::CudaEvent() : handle_(new Point) {}
CudaEvent::~CudaEvent() {
  delete static_cast<Point*>(handle_);
}
bool CudaEvent::is_reached() const {
  const Point& point = point_of(*this);
  return !point.queue || point.queue->num_done >= point.count;
}
void CudaEvent::synchronize() {
  point_of(*this).reach();
}

CudaGraph::~CudaGraph() {
  delete static_cast<Captured*>(handle_);
}

CudaStream::CudaStream() : handle_(new Shared(std::make_shared<Queue>())) {}
CudaStream::~CudaStream() {
  delete static_cast<Shared*>(handle_);
}

void CudaStream::copy_to_device(void* device, const void* host, std::size_t bytes) {
  if (bytes > 0) push(*this, [=] { std::memcpy(device, host, bytes); });
}
void CudaStream::copy_to_host(void* host, const void* device, std::size_t bytes) {
  if (bytes > 0) push(*this, [=] { std::memcpy(host, device, bytes); });
}
void CudaStream::fill(void* device, std::uint8_t byte, std::size_t bytes) {
  if (bytes > 0) push(*this, [=] { std::memset(device, byte, bytes); });
}

void CudaStream::record(CudaEvent& event) {
  const Shared& queue = queue_of(*this);
  if (queue->is_capturing) throw CudaError("an event is recorded into a graph");
  point_of(event) = {queue, queue->num_enqueued};
}
void CudaStream::wait(const CudaEvent& event) {
  push(*this, [point = point_of(event)] { point.reach(); });
}
void CudaStream::synchronize() {
  Queue& queue = *queue_of(*this);
  if (queue.is_capturing) throw CudaError("a stream that is captured is waited for");
  queue.run_until(queue.num_enqueued);
}

void CudaStream::begin_capture() {
  queue_of(*this)->is_capturing = true;
}
CudaGraph CudaStream::end_capture() {
  Queue& queue = *queue_of(*this);
  queue.is_capturing = false;
  return CudaGraph(new Captured(std::exchange(queue.captured, {})));
}
void CudaStream::launch(const CudaGraph& graph) {
  for (const Work& work : *static_cast<Captured*>(graph.handle())) push(*this, work);
}

}  // namespace tessera
