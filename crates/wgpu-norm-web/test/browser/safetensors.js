/** The tensors of a safetensors file: a function from a name to type, shape and bytes. */
export async function openSafetensors(url) {
  const file = await (await fetch(url)).arrayBuffer();
  const length = Number(new DataView(file).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, length)));
  return (name) => {
    const entry = header[name];
    if (!entry) throw new Error(`no tensor ${name} in ${url}`);
    const [from, to] = entry.data_offsets;
    return {
      type: entry.dtype.toLowerCase(),
      shape: entry.shape,
      bytes: file.slice(8 + length + from, 8 + length + to),
    };
  };
}
