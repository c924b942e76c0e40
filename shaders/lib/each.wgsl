// One lane a segment.
override WORKGROUP: u32 = 64u;
struct Each { segments: u32 }
