"""What people look at: TensorBoard, figures, the live table. Projections of the record: delete them, rebuild them."""
