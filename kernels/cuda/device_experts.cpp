#include "kernels/cuda/device_experts.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace tessera {
namespace {

constexpr std::size_t kAlignment = 256;
constexpr std::size_t kPartsOfMatrix = 6;

// With room for what its parts are rounded up to.
std::size_t room_for(const WeightMatrix& matrix) {
  return packed_bytes(matrix) + kPartsOfMatrix * kAlignment;
}

}  // namespace

std::size_t DeviceExperts::device_bytes(const std::vector<ExpertWeights>& experts) {
  std::size_t bytes = experts.size() * sizeof(PackedMatrix) * kNumExpertLinears;
  for (const ExpertWeights& expert : experts) {
    for (const WeightMatrix& matrix : expert) bytes += room_for(matrix);
  }
  return bytes;
}

// Copies the parts behind one another; their addresses go into the view.
PackedMatrix DeviceExperts::place(const PackedBuffers& packed, std::size_t& at,
                                  CudaStream& stream) {
  PackedMatrix view = packed.shape;
  const auto send = [&]<class T>(const std::vector<T>& part, const T*& address) {
    if (part.empty()) return;
    const std::size_t bytes = part.size() * sizeof(T);
    stream.copy_to_device(memory_.data() + at, part.data(), bytes);
    address = reinterpret_cast<const T*>(memory_.data() + at);
    at += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    bytes_ += bytes;
  };
  send(packed.codes, view.codes);
  send(packed.scales, view.scales);
  send(packed.offsets, view.offsets);
  send(packed.absmax_codes, view.absmax_codes);
  send(packed.absmax_scales, view.absmax_scales);
  send(packed.order, view.order);
  stream.synchronize();  // before the packed copy goes
  return view;
}

DeviceExperts::DeviceExperts(const std::vector<ExpertWeights>& experts, const float* dynamic_map,
                             CudaStream& stream)
    : memory_(device_bytes(experts)), table_(experts.size() * kNumExpertLinears) {
  if (experts.size() > static_cast<std::size_t>(kMaxExperts)) {
    throw std::invalid_argument("a layer of " + std::to_string(experts.size()) +
                                " experts is too large for a GPU");
  }
  std::vector<PackedMatrix> views;
  std::size_t at = 0;
  for (const ExpertWeights& expert : experts) {
    for (std::size_t i = 0; i < expert.size(); ++i) {
      PackedMatrix view = place(pack_matrix(expert[i]), at, stream);
      view.dynamic_map = dynamic_map;
      const ExpertForm form = form_of(view);
      if (std::find(forms_[i].begin(), forms_[i].end(), form) == forms_[i].end()) {
        forms_[i].push_back(form);
      }
      has_order_[i] = has_order_[i] || view.order != nullptr;
      views.push_back(view);
    }
  }
  copy<PackedMatrix>(stream, table_, views);
  stream.synchronize();
}

}  // namespace tessera
